//! One row per setting; everything that reads or writes settings goes over the rows.

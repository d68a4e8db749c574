//! An ordered map with cheap clones: a B+ tree whose nodes are behind `Arc`s and copied on write.
//!
//! A clone copies one pointer, whatever the size of the map; the first write after that copies the nodes
//! between the root and the entry, [`LEN_MAX`] entries each. Optimised for streams: keys are appended at the
//! end, looked up anywhere, and removed near the front.

use std::borrow::Borrow;
use std::slice;
use std::sync::Arc;

/// Most entries of a leaf, and most children of an inner node. A removal moves half a leaf on average, so
/// leaves are short.
pub const LEN_MAX: usize = 64;

/// A node with fewer is merged with a neighbour, if both together are no more than half a node.
const LEN_MIN: usize = LEN_MAX / 4;

/// Invariants: keys ascend strictly; no node is empty; all leaves are at the same depth; `len` counts the
/// entries.
#[derive(Debug, Clone)]
pub struct SharedMap<K, V> {
    root: Option<Arc<Node<K, V>>>,
    len: usize,
}

#[derive(Debug, Clone)]
enum Node<K, V> {
    Leaf(Vec<(K, V)>),
    Inner(Vec<Child<K, V>>),
}

/// Invariants: `first` is not above the keys of the node, and above those of the child before; it equals the
/// `first` of an inner node's first child.
#[derive(Debug, Clone)]
struct Child<K, V> {
    first: K,
    node: Arc<Node<K, V>>,
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        SharedMap { root: None, len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn first(&self) -> Option<(&K, &V)> {
        let leaf = self.descend(|_| Some(0))?;
        leaf.entries.first().map(pair)
    }

    #[inline]
    pub fn last(&self) -> Option<(&K, &V)> {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Inner(children) => node = &children.last()?.node,
                Node::Leaf(entries) => return entries.last().map(pair),
            }
        }
    }

    #[inline]
    pub fn last_mut(&mut self) -> Option<&mut V> {
        let mut node = self.root.as_mut()?;
        loop {
            match Arc::make_mut(node) {
                Node::Inner(children) => node = &mut children.last_mut()?.node,
                Node::Leaf(entries) => return entries.last_mut().map(|(_, value)| value),
            }
        }
    }

    pub fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.get(key).is_some()
    }

    #[inline]
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_pair(key).map(|(_, value)| value)
    }

    /// The map's own key, and the value.
    pub fn get_pair<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let mut node = self.root.as_deref()?;
        loop {
            match node {
                Node::Inner(children) => node = &children[child_of(children, key)].node,
                Node::Leaf(entries) => return entries.get(find(entries, key).ok()?).map(pair),
            }
        }
    }

    /// Copies nothing if the key is absent.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        if !self.contains(key) {
            return None;
        }
        let mut node = self.root.as_mut()?;
        loop {
            match Arc::make_mut(node) {
                Node::Inner(children) => {
                    let at = child_of(children, key);
                    node = &mut children[at].node;
                }
                Node::Leaf(entries) => {
                    let at = find(entries, key).ok()?;
                    return Some(&mut entries[at].1);
                }
            }
        }
    }

    /// The entry with the greatest key up to `key`.
    pub fn floor<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.range_back(key).next()
    }

    /// Inserts a value; returns the previous one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some(root) = &mut self.root else {
            self.root = Some(Arc::new(Node::Leaf(vec![(key, value)])));
            self.len = 1;
            return None;
        };
        let (before, upper) = Node::insert(root, key, value);
        if let Some(upper) = upper {
            let lower = Arc::clone(root);
            let first = lower.first().clone();
            *root = Arc::new(Node::Inner(vec![Child { first, node: lower }, upper]));
        }
        self.len += usize::from(before.is_none());
        before
    }

    /// Copies nothing if the key is absent.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if !self.contains(key) {
            return None;
        }
        let root = self.root.as_mut()?;
        let value = Node::remove(root, key);
        self.len -= 1;
        self.lower_root();
        Some(value)
    }

    /// Removes the entries below `key`, and returns them: they may be many.
    pub fn split_off_front<Q: Ord + ?Sized>(&mut self, key: &Q) -> SharedMap<K, V>
    where
        K: Borrow<Q>,
    {
        let Some(root) = &mut self.root else { return SharedMap::default() };
        let Some(front) = Node::split_off_front(root, key) else { return SharedMap::default() };
        let mut front = SharedMap { len: front.count(), root: Some(front) };
        self.len -= front.len;
        front.lower_root();
        self.lower_root();
        front
    }

    /// Entries from `from` on, ascending.
    pub fn range<Q: Ord + ?Sized>(&self, from: &Q) -> Ascending<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let leaf = self.descend(|children| Some(child_of(children, from)));
        let mut ascending = Ascending::from(self, leaf);
        if let Some(leaf) = leaf {
            let at = leaf.entries.partition_point(|(key, _)| key.borrow() < from);
            ascending.entries = leaf.entries[at..].iter();
        }
        ascending
    }

    pub fn iter(&self) -> Ascending<'_, K, V> {
        Ascending::from(self, self.descend(|_| Some(0)))
    }

    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// Entries from `from` down, descending.
    pub fn range_back<Q: Ord + ?Sized>(&self, from: &Q) -> Descending<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let leaf = self.descend(|children| Some(child_of(children, from)));
        let (entries, first) = leaf.map_or((&[][..], None), |leaf| (leaf.entries, leaf.first));
        let end = entries.partition_point(|(key, _)| key.borrow() <= from);
        Descending { map: self, entries: entries[..end].iter(), first }
    }

    /// The entries from `from` to `to`, and some of their neighbours. Shares the leaves.
    pub fn slice<Q: Ord + ?Sized>(&self, from: &Q, to: &Q) -> SharedMap<K, V>
    where
        K: Borrow<Q>,
    {
        let Some(root) = &self.root else { return SharedMap::default() };
        let root = root.slice(from, to).unwrap_or_else(|| Arc::clone(root));
        let mut slice = SharedMap { len: root.count(), root: Some(root) };
        slice.lower_root();
        slice
    }

    /// Bytes of a slice besides what it shares: the inner nodes at its edges.
    pub fn memory_of_slice(&self) -> usize {
        let edge = |is_last| self.root.as_ref().map_or(0, |root| root.edge_len(is_last));
        size_of::<Self>() + (edge(false) + edge(true)) * size_of::<Child<K, V>>()
    }

    /// The leaf below the chosen children.
    fn descend(&self, choose: impl Fn(&[Child<K, V>]) -> Option<usize>) -> Option<Leaf<'_, K, V>> {
        let mut node = self.root.as_deref()?;
        let (mut first, mut next) = (None, None);
        loop {
            match node {
                Node::Inner(children) => {
                    let at = choose(children)?;
                    first = Some(&children[at].first);
                    next = children.get(at + 1).map(|child| &child.first).or(next);
                    node = &children[at].node;
                }
                Node::Leaf(entries) => return Some(Leaf { entries, first, next }),
            }
        }
    }

    /// Drops the roots that have nothing to choose from.
    fn lower_root(&mut self) {
        while let Some(root) = &self.root {
            match &**root {
                Node::Inner(children) if children.len() == 1 => {
                    self.root = Some(Arc::clone(&children[0].node))
                }
                node if node.len() == 0 => self.root = None,
                _ => return,
            }
        }
    }

    /// Nodes that the map does not share with another.
    #[cfg(test)]
    pub fn unshared(&self, other: &SharedMap<K, V>) -> usize {
        fn collect<K, V>(node: &Arc<Node<K, V>>, into: &mut std::collections::BTreeSet<usize>) {
            into.insert(Arc::as_ptr(node).addr());
            if let Node::Inner(children) = &**node {
                children.iter().for_each(|child| collect(&child.node, into));
            }
        }
        let [mut mine, mut theirs] = [Default::default(), Default::default()];
        self.root.iter().for_each(|root| collect(root, &mut mine));
        other.root.iter().for_each(|root| collect(root, &mut theirs));
        mine.difference(&theirs).count()
    }

    /// Asserts the invariants.
    pub fn check(&self) {
        if let Some(root) = &self.root {
            root.check();
            assert_eq!(root.count(), self.len, "len counts the entries");
        } else {
            assert_eq!(self.len, 0, "without a root there are no entries");
        }
        assert!(self.iter().zip(self.iter().skip(1)).all(|((a, _), (b, _))| a < b), "keys ascend");
    }
}

impl<K: Ord + Clone, V: Clone> Node<K, V> {
    fn len(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(children) => children.len(),
        }
    }

    /// Entries below the node.
    fn count(&self) -> usize {
        match self {
            Node::Leaf(entries) => entries.len(),
            Node::Inner(children) => children.iter().map(|child| child.node.count()).sum(),
        }
    }

    /// Children of the inner nodes at an edge.
    fn edge_len(&self, is_last: bool) -> usize {
        let Node::Inner(children) = self else { return 0 };
        let child = &children[if is_last { children.len() - 1 } else { 0 }];
        children.len() + child.node.edge_len(is_last)
    }

    /// Not above the first key.
    fn first(&self) -> &K {
        match self {
            Node::Leaf(entries) => &entries[0].0,
            Node::Inner(children) => &children[0].first,
        }
    }

    /// Gives the previous value, and what did not fit: a node to stand behind this one.
    fn insert(this: &mut Arc<Node<K, V>>, key: K, value: V) -> (Option<V>, Option<Child<K, V>>) {
        match Arc::make_mut(this) {
            Node::Leaf(entries) => {
                let at = match entries.last() {
                    Some((last, _)) if *last < key => entries.len(),
                    _ => match find(entries, &key) {
                        Ok(at) => return (Some(std::mem::replace(&mut entries[at].1, value)), None),
                        Err(at) => at,
                    },
                };
                let upper = insert_at(entries, at, (key, value));
                let child = |entries: Vec<(K, V)>| Child {
                    first: entries[0].0.clone(),
                    node: Arc::new(Node::Leaf(entries)),
                };
                (None, upper.map(child))
            }
            Node::Inner(children) => {
                let at = match children.last() {
                    Some(last) if last.first <= key => children.len() - 1,
                    _ => child_of(children, &key),
                };
                if key < children[at].first {
                    children[at].first = key.clone();
                }
                let (before, split) = Node::insert(&mut children[at].node, key, value);
                let upper = split.and_then(|split| insert_at(children, at + 1, split));
                let child = |children: Vec<Child<K, V>>| Child {
                    first: children[0].first.clone(),
                    node: Arc::new(Node::Inner(children)),
                };
                (before, upper.map(child))
            }
        }
    }

    /// Removes an entry that is there.
    fn remove<Q: Ord + ?Sized>(this: &mut Arc<Node<K, V>>, key: &Q) -> V
    where
        K: Borrow<Q>,
    {
        match Arc::make_mut(this) {
            Node::Leaf(entries) => match find(entries, key) {
                Ok(at) => entries.remove(at).1,
                Err(_) => unreachable!("the caller has seen the key"),
            },
            Node::Inner(children) => {
                let at = child_of(children, key);
                let value = Node::remove(&mut children[at].node, key);
                tidy(children, at);
                value
            }
        }
    }

    /// Removes the entries below `key`, and returns them, if there are any.
    fn split_off_front<Q: Ord + ?Sized>(this: &mut Arc<Node<K, V>>, key: &Q) -> Option<Arc<Node<K, V>>>
    where
        K: Borrow<Q>,
    {
        if this.first().borrow() >= key {
            return None;
        }
        let front = match Arc::make_mut(this) {
            Node::Leaf(entries) => {
                let at = entries.partition_point(|(it, _)| it.borrow() < key);
                let rest = entries.split_off(at);
                Node::Leaf(std::mem::replace(entries, rest))
            }
            Node::Inner(children) => {
                let at = child_of(children, key);
                let edge = Node::split_off_front(&mut children[at].node, key);
                let first = children[at].first.clone();
                if children[at].node.len() > 0 {
                    children[at].first = children[at].node.first().clone();
                }
                let rest = children.split_off(at);
                let mut front = std::mem::replace(children, rest);
                front.extend(edge.map(|node| Child { first, node }));
                if children[0].node.len() == 0 {
                    children.remove(0);
                } else {
                    tidy(children, 0);
                }
                Node::Inner(front)
            }
        };
        Some(Arc::new(front))
    }

    /// The node without what lies outside of the range; `None`: all of it is wanted.
    fn slice<Q: Ord + ?Sized>(&self, from: &Q, to: &Q) -> Option<Arc<Node<K, V>>>
    where
        K: Borrow<Q>,
    {
        let Node::Inner(children) = self else { return None };
        let (start, end) = (child_of(children, from), child_of(children, to).max(child_of(children, from)));
        let mut kept = children[start..=end].to_vec();
        let edges = if start == end { 0..1 } else { 0..kept.len() };
        for at in [edges.start, edges.end - 1] {
            if let Some(node) = kept[at].node.slice(from, to) {
                kept[at] = Child { first: node.first().clone(), node };
            }
        }
        Some(Arc::new(Node::Inner(kept)))
    }

    fn check(&self) {
        assert!((1..=LEN_MAX).contains(&self.len()), "nodes are neither empty nor too long");
        let Node::Inner(children) = self else { return };
        let depth = |child: &Child<K, V>| matches!(&*child.node, Node::Leaf(_));
        assert!(children.iter().all(|child| depth(child) == depth(&children[0])), "leaves are equally deep");
        for child in children {
            child.node.check();
            match &*child.node {
                Node::Leaf(entries) => assert!(child.first <= entries[0].0, "a bound is not above the keys"),
                Node::Inner(below) => {
                    assert!(child.first == below[0].first, "a bound is that of the first child")
                }
            }
        }
        let last = |child: &Child<K, V>| SharedMap { root: Some(Arc::clone(&child.node)), len: 1 };
        assert!(
            children.windows(2).all(|two| last(&two[0]).last().is_some_and(|(key, _)| *key < two[1].first)),
            "a bound is above the keys before"
        );
    }
}

/// Inserts an element; gives the upper part of a list that was full. What is appended to a full list stands
/// alone, so that lists which grow at the end are full.
fn insert_at<T>(list: &mut Vec<T>, at: usize, element: T) -> Option<Vec<T>> {
    if list.len() < LEN_MAX {
        list.insert(at, element);
        return None;
    }
    if at == list.len() {
        return Some(vec![element]);
    }
    let middle = LEN_MAX / 2;
    let mut upper = list.split_off(middle);
    if at <= middle {
        list.insert(at, element);
    } else {
        upper.insert(at - middle, element);
    }
    Some(upper)
}

/// An entry was removed below a child: it goes if it is empty, and is merged if it is nearly so.
fn tidy<K: Ord + Clone, V: Clone>(children: &mut Vec<Child<K, V>>, at: usize) {
    let len = children[at].node.len();
    if len == 0 {
        let removed = children.remove(at);
        if let Some(next) = children.get_mut(at).filter(|_| at == 0) {
            next.lower_first(removed.first);
        }
        return;
    }
    if len >= LEN_MIN {
        return;
    }
    let fits = |other: usize| children.get(other).is_some_and(|it| it.node.len() + len <= LEN_MAX / 2);
    let lower = if fits(at + 1) {
        at
    } else if at > 0 && fits(at - 1) {
        at - 1
    } else {
        return;
    };
    let upper = Arc::unwrap_or_clone(children.remove(lower + 1).node);
    match (Arc::make_mut(&mut children[lower].node), upper) {
        (Node::Leaf(entries), Node::Leaf(more)) => entries.extend(more),
        (Node::Inner(below), Node::Inner(more)) => below.extend(more),
        _ => unreachable!("all leaves are at the same depth"),
    }
}

impl<K: Ord + Clone, V: Clone> Child<K, V> {
    /// The node is now the first one, in the place of a node with a lower bound.
    fn lower_first(&mut self, first: K) {
        if let Node::Inner(below) = &*self.node
            && !below.is_empty()
            && let Node::Inner(below) = Arc::make_mut(&mut self.node)
        {
            below[0].lower_first(first.clone());
        }
        self.first = first;
    }
}

/// The child that holds the key, if any does: the last one whose bound is not above it, or the first.
#[inline]
fn child_of<K: Borrow<Q>, V, Q: Ord + ?Sized>(children: &[Child<K, V>], key: &Q) -> usize {
    children.partition_point(|child| child.first.borrow() <= key).saturating_sub(1)
}

#[inline]
fn find<K: Borrow<Q>, V, Q: Ord + ?Sized>(entries: &[(K, V)], key: &Q) -> Result<usize, usize> {
    entries.binary_search_by(|(it, _)| it.borrow().cmp(key))
}

fn pair<K, V>((key, value): &(K, V)) -> (&K, &V) {
    (key, value)
}

/// A leaf, its own bound, if it has one, and that of the next leaf.
struct Leaf<'m, K, V> {
    entries: &'m [(K, V)],
    first: Option<&'m K>,
    next: Option<&'m K>,
}

impl<K, V> Clone for Leaf<'_, K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Leaf<'_, K, V> {}

/// Entries in order.
pub struct Ascending<'m, K, V> {
    map: &'m SharedMap<K, V>,
    entries: slice::Iter<'m, (K, V)>,
    next: Option<&'m K>,
}

impl<'m, K, V> Ascending<'m, K, V> {
    fn from(map: &'m SharedMap<K, V>, leaf: Option<Leaf<'m, K, V>>) -> Self {
        let (entries, next) = leaf.map_or((&[][..], None), |leaf| (leaf.entries, leaf.next));
        Ascending { map, entries: entries.iter(), next }
    }
}

impl<'m, K: Ord + Clone, V: Clone> Iterator for Ascending<'m, K, V> {
    type Item = (&'m K, &'m V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Some(pair(entry));
            }
            let bound = self.next?;
            let leaf = self.map.descend(|children| Some(child_of(children, bound)));
            *self = Ascending::from(self.map, leaf);
        }
    }
}

/// Entries in reverse.
pub struct Descending<'m, K, V> {
    map: &'m SharedMap<K, V>,
    entries: slice::Iter<'m, (K, V)>,
    /// The bound of the leaf; what is below stands in leaves before.
    first: Option<&'m K>,
}

impl<'m, K: Ord + Clone, V: Clone> Iterator for Descending<'m, K, V> {
    type Item = (&'m K, &'m V);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.entries.next_back() {
                return Some(pair(entry));
            }
            let bound = self.first?;
            let before = |children: &[Child<K, V>]| {
                children.partition_point(|child| child.first < *bound).checked_sub(1)
            };
            let leaf = self.map.descend(before)?;
            (self.entries, self.first) = (leaf.entries.iter(), leaf.first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn listed(map: &SharedMap<u16, usize>) -> Vec<(u16, usize)> {
        map.iter().map(|(key, value)| (*key, *value)).collect()
    }

    proptest! {
        #[test]
        fn it_is_an_ordered_map(
            ops in proptest::collection::vec((0u8..16, 0u16..9000), 0..3000),
            sorted: bool,
            removes in 0u8..12,
            probes: Vec<u16>,
        ) {
            let (mut map, mut model) = (SharedMap::default(), BTreeMap::new());
            let mut old = None;
            for (n, (op, key)) in ops.iter().enumerate() {
                let key = if sorted && *op >= removes { n as u16 } else { *key };
                if *op >= removes {
                    prop_assert_eq!(map.insert(key, n), model.insert(key, n));
                } else if let Some((key, _)) = model.range(key..).next().map(|(key, value)| (*key, *value)) {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                } else {
                    prop_assert_eq!(map.remove(&key), None);
                }
                if n == ops.len() / 2 {
                    old = Some((map.clone(), model.clone()));
                    map.check();
                }
            }
            map.check();
            for probe in probes.into_iter().map(|probe| probe % 10_000) {
                prop_assert_eq!(map.get(&probe), model.get(&probe));
                prop_assert!(map.range(&probe).eq(model.range(probe..)));
                prop_assert!(map.range_back(&probe).eq(model.range(..=probe).rev()));
                let to = probe.saturating_add(probe % 700);
                let slice = map.slice(&probe, &to);
                slice.check();
                prop_assert!(slice.range(&probe).take_while(|(key, _)| **key <= to).eq(model.range(probe..=to)));
                let mut rest = map.clone();
                let front = rest.split_off_front(&probe);
                front.check();
                rest.check();
                prop_assert!(front.iter().eq(model.range(..probe)));
                prop_assert!(rest.iter().eq(model.range(probe..)));
                prop_assert!(rest.range_back(&u16::MAX).eq(model.range(probe..).rev()));
                prop_assert_eq!(front.last(), model.range(..probe).next_back());
                prop_assert_eq!(rest.first(), model.range(probe..).next());
            }
            if let Some((old, model)) = old {
                prop_assert_eq!(listed(&old), model.into_iter().collect::<Vec<_>>(), "a clone keeps what it had");
            }
        }
    }

    #[test]
    fn a_write_after_a_clone_copies_one_node_of_each_level() {
        let mut map = SharedMap::default();
        (0..300_000u32).for_each(|key| {
            map.insert(key, key);
        });
        let clone = map.clone();
        *map.get_mut(&150_000).unwrap() = 0;
        assert_eq!(map.unshared(&clone), 4, "four levels");
        map.insert(300_000, 0);
        assert!(map.unshared(&clone) <= 7, "the root is shared no more");
        let before = map.clone();
        assert_eq!((map.remove(&1_000_000), map.get_mut(&1_000_000)), (None, None));
        assert_eq!(map.unshared(&before), 0, "what is absent copies nothing");
    }

    #[test]
    fn what_was_thinned_out_is_merged() {
        let mut map = SharedMap::default();
        (0..100_000u32).for_each(|key| {
            map.insert(key, key);
        });
        for key in (0..100_000).filter(|key| key % 50 != 0) {
            assert_eq!(map.remove(&key), Some(key));
        }
        map.check();
        assert_eq!(map.len(), 2000);
        let nodes = map.unshared(&SharedMap::default());
        assert!(nodes < 2000 / LEN_MIN + 20, "{nodes} nodes");
        (0..100_000).step_by(50).for_each(|key| assert_eq!(map.remove(&key), Some(key)));
        assert!(map.root.is_none());
    }
}

<?php
// What the PHP scripts share: named checks, one line of output per check.

error_reporting(E_ALL & ~E_DEPRECATED);
set_error_handler(function ($number, $text, $file, $line) {
    if (error_reporting() & $number) {
        throw new ErrorException($text, 0, $number, $file, $line);
    }
});

function same($actual, $expected, string $what = 'value'): void
{
    if ($actual !== $expected) {
        throw new Exception("$what: got " . json_encode($actual) . ', expected ' . json_encode($expected));
    }
}

function holds(bool $condition, string $what): void
{
    if (!$condition) {
        throw new Exception($what);
    }
}

/** The message of what a call throws. */
function refusal(callable $call): string
{
    try {
        $call();
    } catch (Throwable $error) {
        return $error->getMessage();
    }
    return '';
}

function check(string $name, callable $run): void
{
    try {
        $run();
        echo "ok $name\n";
    } catch (Throwable $error) {
        echo "not ok $name: " . preg_replace('/\s+/', ' ', $error->getMessage()) . "\n";
        fwrite(STDERR, "$error\n");
    }
}

/** Runs a piece of work in a process of its own; it ends with the work. */
function beside(callable $work): int
{
    $child = pcntl_fork();
    if ($child === 0) {
        $work();
        // Without the parent's destructors and output.
        posix_kill(posix_getpid(), SIGKILL);
    }
    return $child;
}

/** Waits until a condition holds, five seconds at most. */
function until(callable $condition, string $what): void
{
    $end = microtime(true) + 5;
    while (!$condition()) {
        holds(microtime(true) < $end, "never came: $what");
        usleep(5000);
    }
}

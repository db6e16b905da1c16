//go:build race

package unpack

// slower is how much longer the race detector may take.
const slower = 10

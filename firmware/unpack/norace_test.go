//go:build !race

package unpack

const slower = 1

//go:build !linux

package main

func hasSandbox() bool { return false }

func runNested() { panic("needs Landlock") }

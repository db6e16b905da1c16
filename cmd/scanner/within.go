//go:build linux

package main

import (
	"errors"
	"fmt"
	"time"
)

var errSilent = errors.New("no answer in time")

// within runs a call that may hang, as reading a dead disk does. On timeout the
// call is left behind; nobody waits for what it holds. A panic in it is an
// error, so that it does not end the first process.
func within[T any](limit time.Duration, call func() (T, error)) (T, error) {
	type outcome struct {
		v   T
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if r := recover(); r != nil {
				o.err = fmt.Errorf("panic: %v", r)
			}
			done <- o
		}()
		o.v, o.err = call()
	}()
	select {
	case o := <-done:
		return o.v, o.err
	case <-time.After(limit):
		var zero T
		return zero, fmt.Errorf("%w (%s)", errSilent, limit)
	}
}

// does is within for a call that gives nothing but an error.
func does(limit time.Duration, call func() error) error {
	_, err := within(limit, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

//go:build !otel

package main

import (
	"context"
	"net/http"
)

// tracing does nothing here: a program that is built with the tag otel sends spans.
// The libraries weigh more than the server.
func tracing(context.Context) (wrap func(http.Handler) http.Handler, span func(context.Context, string) (context.Context, func(error)), end func(context.Context) error, err error) {
	return nil, nil, nil, nil
}

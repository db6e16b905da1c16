//go:build otel

package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Spans of requests and of jobs reach the collector that the environment names.
func TestTracing(t *testing.T) {
	var spans atomic.Int64
	c := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/traces" {
			spans.Add(r.ContentLength)
		}
	}))
	t.Cleanup(c.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
	wrap, span, end, err := tracing(t.Context())
	require.NoError(t, err)
	w := httptest.NewRecorder()
	wrap(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil))
	_, done := span(t.Context(), "job appraise")
	done(errors.New("no"))
	require.NoError(t, end(context.Background()))
	require.Positive(t, spans.Load())
}

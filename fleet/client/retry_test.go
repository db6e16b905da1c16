package client_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet/client"
)

// A server says when to come again, and cannot keep a machine away for good.
func TestRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{"": 0, "60": time.Minute, "-5": 0, "soon": 0, "99999999999999999999": 0, "2000000": 24 * time.Hour} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set("Retry-After", header)
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		}))
		t.Cleanup(srv.Close)
		c, err := client.New(srv.URL, "", "")
		require.NoError(t, err)
		err = c.Do(t.Context(), http.MethodGet, "/", nil, nil, nil)
		var p *client.Problem
		require.True(t, errors.As(err, &p))
		require.Equal(t, want, p.Retry, header)
	}
}

package client_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet/client"
)

// G06: with a pin, a server with another key gets no request, and so no token;
// without one, its authority has to be known. Nobody is sent elsewhere, and
// beyond this machine nothing goes without TLS.
func TestG06OtherServer(t *testing.T) {
	var asked atomic.Int64
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "https://other.invalid/", http.StatusTemporaryRedirect)
		}
	}))
	t.Cleanup(srv.Close)
	sum := sha256.Sum256(srv.Certificate().RawSubjectPublicKeyInfo)
	ask := func(pin, path string) error {
		c, err := client.New(srv.URL, "assay-token.rack.secret", pin)
		require.NoError(t, err)
		return c.Do(t.Context(), http.MethodGet, path, nil, nil, nil)
	}
	require.NoError(t, ask(hex.EncodeToString(sum[:]), "/"))
	require.EqualValues(t, 1, asked.Load())
	require.ErrorContains(t, ask(hex.EncodeToString(sum[:]), "/away"), "redirects")
	require.EqualValues(t, 2, asked.Load())
	sum[0] ^= 1
	require.ErrorIs(t, ask(hex.EncodeToString(sum[:]), "/"), client.ErrPin)
	require.ErrorContains(t, ask("", "/"), "certificate")
	require.EqualValues(t, 2, asked.Load(), "a server that is not the right one was sent a request")

	_, err := client.New("http://fleet.example:8080", "", "")
	require.ErrorContains(t, err, "without TLS")
	_, err = client.New(srv.URL, "", "ab")
	require.ErrorContains(t, err, "pin")
}

//go:build linux

package main

import (
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSending(t *testing.T) {
	var got []byte
	mux := http.NewServeMux()
	mux.HandleFunc("POST /in", func(_ http.ResponseWriter, r *http.Request) { got, _ = io.ReadAll(r.Body) })
	mux.HandleFunc("POST /full", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no \x1b[2Jroom", http.StatusInsufficientStorage)
	})
	mux.HandleFunc("POST /elsewhere", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/in", http.StatusTemporaryRedirect) })
	srv := httptest.NewTLSServer(mux)
	defer srv.Close()
	roots := filepath.Join(t.TempDir(), "roots.pem")
	require.NoError(t, os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600))
	client, err := newClient(roots)
	require.NoError(t, err)
	ctx := context.Background()
	require.NoError(t, send(ctx, client, srv.URL+"/in", "a.zip", []byte("evidence")))
	require.Equal(t, "evidence", string(got))
	require.ErrorContains(t, send(ctx, client, srv.URL+"/full", "a.zip", nil), "no ?[2Jroom")
	got = nil
	require.Error(t, send(ctx, client, srv.URL+"/elsewhere", "a.zip", []byte("evidence")), "redirections are not followed")
	require.Empty(t, got)
	require.ErrorContains(t, send(ctx, client, "http://127.0.0.1/in", "a.zip", nil), "https")
	strangers, err := newClient("main_test.go")
	require.Error(t, err)
	require.Nil(t, strangers)
	// A certificate of somebody else is as good as none.
	vendor, err := os.ReadFile("../../testdata/keys/vendor.pem")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(roots, vendor, 0o600))
	client, err = newClient(roots)
	require.NoError(t, err)
	require.Error(t, send(ctx, client, srv.URL+"/in", "a.zip", nil), "a server that the roots do not vouch for")
	require.Empty(t, got)
}

package api

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
)

// Evidence says how long it is, so that it is counted before it is read.
func TestEvidenceHasALength(t *testing.T) {
	s := newSite(t)
	send := func(body string, length int64) *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/hosts/h1/evidence?nonce=00", strings.NewReader(body))
		require.NoError(t, err)
		req.ContentLength = length
		req.Header.Set("Authorization", "Bearer "+s.token)
		req.Header.Set("Content-Type", "application/zip")
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		t.Cleanup(func() { _ = res.Body.Close() })
		return res
	}
	require.Equal(t, http.StatusLengthRequired, send("x", -1).StatusCode)
	require.Equal(t, http.StatusConflict, send("x", 1).StatusCode, "nobody asked for it")

	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST /v1/hosts/h1/evidence?nonce=00 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", s.token, MaxEvidence+1)
	require.NoError(t, err)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusRequestEntityTooLarge, res.StatusCode, "before a byte of it was read")
}

// A name has its bytes, all have the server's memory, and both are given back.
func TestBytesOfEvidence(t *testing.T) {
	b := newBytesLimits()
	require.True(t, b.claim(maxInFlight))
	require.False(t, b.claim(1), "no more at a time")
	b.claim(-maxInFlight)
	require.True(t, b.claim(1))

	l := b.names.limiter("who:token:a")
	now := time.Now()
	require.True(t, l.AllowN(now, bytesBurst))
	require.False(t, l.AllowN(now, MaxEvidence), "its bytes are used up")
	require.True(t, b.names.limiter("who:token:b").AllowN(now, MaxEvidence), "another name has its own")
}

// Who is refused for a while is told for how long.
func TestRefusalsSayWhen(t *testing.T) {
	s := newSite(t)
	s.server.MaxQueue = 1
	require.NoError(t, s.server.Store.Update(t.Context(), func(tx fleet.Tx) error {
		h, err := tx.Host("h1")
		if err != nil {
			return err
		}
		h.NextDue = time.Now().Add(-time.Hour)
		if err := tx.PutHost(h); err != nil {
			return err
		}
		return tx.Enqueue(fleet.Job{Kind: fleet.Appraise, Key: "x"})
	}))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/hosts/h1/audit?wait=0", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+s.token)
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode, "a machine is not asked for what nobody can judge")
	require.Equal(t, "60", res.Header.Get("Retry-After"))
}

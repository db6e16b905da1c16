package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/fleet/blob"
)

// Each order gives every machine once, from both ends, with and without those
// that were retired.
func pagesBackwards(t *testing.T, s fleet.Store) {
	for i := range 20 {
		h := host(i)
		h.Since = start.Add(time.Duration(i%3) * time.Hour)
		if i%4 == 0 {
			h.State = fleet.Retired
		}
		put(t, s, h)
	}
	all := func(q fleet.HostQuery) (out []string) {
		q.Limit = 3
		for {
			var page []fleet.Host
			view(t, s, func(r fleet.Reader) (err error) { page, err = r.Hosts(q); return err })
			for _, h := range page {
				out = append(out, h.ID)
			}
			if len(page) < q.Limit {
				return out
			}
			q.After = page[len(page)-1].Key(q.Sort)
		}
	}
	for _, order := range []string{"name", "state", "since", "lastAttested"} {
		up, down := all(fleet.HostQuery{Sort: order}), all(fleet.HostQuery{Sort: order, Desc: true})
		require.Len(t, up, 20, order)
		slices.Reverse(down)
		require.Equal(t, up, down, order)
		require.Len(t, all(fleet.HostQuery{Sort: order, Live: true}), 15, order)
		require.Len(t, all(fleet.HostQuery{Sort: order, State: fleet.Retired, Live: true}), 5, "who asks for them gets them")
	}
}

func trend(t *testing.T, s fleet.Store) {
	day := func(n int, hours int, by map[fleet.State]int64) {
		update(t, s, func(tx fleet.Tx) error {
			return tx.PutCounts(fleet.Counts{At: start.AddDate(0, 0, n).Add(time.Duration(hours) * time.Hour), ByState: by})
		})
	}
	day(0, 0, map[fleet.State]int64{fleet.Pass: 3})
	day(1, 0, map[fleet.State]int64{fleet.Pass: 2, fleet.Fail: 1})
	day(1, 5, map[fleet.State]int64{fleet.Pass: 3, fleet.Retired: 1})
	var got []fleet.Counts
	view(t, s, func(r fleet.Reader) (err error) { got, err = r.Trend(start); return err })
	midnight := start.Truncate(24 * time.Hour)
	require.Equal(t, []fleet.Counts{
		{At: midnight, Hosts: 3, ByState: map[fleet.State]int64{fleet.Pass: 3}},
		{At: midnight.AddDate(0, 0, 1), Hosts: 3, ByState: map[fleet.State]int64{fleet.Pass: 3, fleet.Retired: 1}},
	}, got, "the last count of a day stays, whole")
	view(t, s, func(r fleet.Reader) (err error) { got, err = r.Trend(start.AddDate(0, 0, 1)); return err })
	require.Len(t, got, 1)
	require.Error(t, s.Update(t.Context(), func(tx fleet.Tx) error { return tx.PutCounts(fleet.Counts{}) }))
}

func library(t *testing.T, s fleet.Store) {
	for i := range 3 {
		d := &fleet.Document{Kind: "golden", Name: "r1", Version: int64(i), Added: start.Add(time.Duration(i) * time.Hour), Raw: fmt.Append(nil, i)}
		d.Digest = blob.Digest(d.Raw)
		if i == 0 {
			d.Retired = start.Add(2 * time.Hour)
		}
		update(t, s, func(tx fleet.Tx) error { return tx.PutDocument(d) })
		update(t, s, func(tx fleet.Tx) error {
			_, err := tx.Append(auditlog.Entry{At: start, Actor: "ann", Action: "add golden", Subject: d.Digest})
			return err
		})
	}
	view(t, s, func(r fleet.Reader) error {
		all, err := r.Library(0)
		require.NoError(t, err)
		require.Len(t, all, 3)
		require.EqualValues(t, 2, all[0].Version, "the newest first")
		require.False(t, all[2].Retired.IsZero(), "what is not in use any more is there")
		require.Empty(t, all[0].Raw)
		log, err := r.AuditLog(0, 10)
		require.NoError(t, err)
		seq, hash, err := r.AuditHead()
		require.NoError(t, err)
		require.EqualValues(t, 3, seq)
		require.Equal(t, log[2].Hash, hash)
		return nil
	})
}

// What waits and what failed is shown, and no secret of it, and nothing is changed.
func jobPages(t *testing.T, s fleet.Store) {
	update(t, s, func(tx fleet.Tx) error {
		return tx.Enqueue(fleet.Job{Kind: fleet.Appraise, Key: "digest-1", Data: json.RawMessage(`{"token":"SECRET"}`)})
	})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan bool, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Work(ctx, fleet.Workers{Parallel: 1, Handlers: map[fleet.Kind]fleet.Handler{fleet.Appraise: func(context.Context, fleet.Job) (func(fleet.Tx) error, error) {
			failed <- true
			return nil, errors.New(`asking "https://hooks.example/SECRET": refused`)
		}}})
	}()
	<-failed
	cancel()
	require.NoError(t, <-ended)

	pages, err := s.(interface {
		JobPages(ctx context.Context, prefix string) (http.Handler, error)
	}).JobPages(t.Context(), "/jobs")
	require.NoError(t, err)
	ask := func(method, path, accept string) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), method, path, nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	code, body := ask(http.MethodGet, "/jobs/", "text/html")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, "<title>River</title>")
	var list struct {
		Data []struct {
			ID   json.RawMessage
			Args string
		}
	}
	for _, state := range []string{"retryable", "available"} { // as long as it has to wait
		code, body = ask(http.MethodGet, "/jobs/api/jobs?limit=10&state="+state, "application/json")
		require.Equal(t, http.StatusOK, code, body)
		require.NoError(t, json.Unmarshal([]byte(body), &list), body)
		if len(list.Data) > 0 {
			break
		}
	}
	require.Len(t, list.Data, 1, body)
	require.JSONEq(t, `{"key":"digest-1"}`, list.Data[0].Args)
	id := strings.Trim(string(list.Data[0].ID), `"`)
	code, one := ask(http.MethodGet, "/jobs/api/jobs/"+id, "application/json")
	require.Equal(t, http.StatusOK, code, one)
	require.Contains(t, one, "refused", "why it failed")
	require.NotContains(t, body+one, "SECRET")
	for _, change := range []string{"POST /jobs/api/jobs/delete", "POST /jobs/api/jobs/cancel", "PUT /jobs/api/queues/default/pause"} {
		method, path, _ := strings.Cut(change, " ")
		code, _ = ask(method, path, "application/json")
		require.Equal(t, http.StatusMethodNotAllowed, code, change)
	}
}

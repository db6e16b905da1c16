package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/postgres"
	"github.com/assay-hw/assay/fleet/storetest"
)

// Partitions are made while the store is in use, those that are old go whole, and
// neither loses a result that is kept.
func TestPartitions(t *testing.T) {
	c := storetest.NewCluster(t)
	url := c.Database(t, "partitions")
	s, err := postgres.Open(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	rows := func(table string) (n int) {
		t.Helper()
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n))
		return n
	}
	exists := func(table string) (yes bool) {
		require.NoError(t, conn.QueryRow(t.Context(), `SELECT to_regclass($1) IS NOT NULL`, table).Scan(&yes))
		return yes
	}
	put := func(host string, at time.Time) {
		t.Helper()
		id := fmt.Sprintf("%s-%s", host, at.Format(time.DateOnly))
		require.NoError(t, s.Update(t.Context(), func(tx fleet.Tx) error {
			return tx.PutResult(&fleet.Result{ID: id, Host: host, Evidence: id, At: at, State: fleet.Pass})
		}))
	}
	day := time.Date(2031, 5, 20, 0, 0, 0, 0, time.UTC) // nobody made partitions for this
	put("h1", day.AddDate(0, -2, 0))
	put("h1", day.AddDate(0, -1, 0))
	put("h2", day.AddDate(0, -2, 0)) // its last
	put("h1", day)
	require.Equal(t, 4, rows("result_other"))

	require.NoError(t, s.Maintain(t.Context(), day, day.AddDate(-1, 0, 0)))
	require.Zero(t, rows("result_other"), "what came before its partition is moved")
	require.Equal(t, 2, rows("result_2031_03"))
	require.Equal(t, 1, rows("result_2031_05"))
	require.True(t, exists("result_2031_07"), "a month ahead")
	require.NoError(t, s.Maintain(t.Context(), day, day.AddDate(-1, 0, 0)), "again, with nothing to do")
	put("h1", day.AddDate(0, 1, 0))
	require.Equal(t, 1, rows("result_2031_06"))

	require.NoError(t, s.Maintain(t.Context(), day, time.Date(2031, 5, 1, 0, 0, 0, 0, time.UTC)))
	require.False(t, exists("result_2031_03"))
	require.False(t, exists("result_2031_04"))
	require.Equal(t, 1, rows("result_other"), "the last result of a machine stays")
	require.NoError(t, s.View(t.Context(), func(r fleet.Reader) error {
		h1, err1 := r.Results("h1", time.Time{}, 10)
		require.Len(t, h1, 2)
		h2, err2 := r.Results("h2", time.Time{}, 10)
		require.Len(t, h2, 1)
		return errors.Join(err1, err2)
	}))
}

// Partitions change while results are written: none is lost.
func TestPartitionsUnderLoad(t *testing.T) {
	c := storetest.NewCluster(t)
	s, err := postgres.Open(t.Context(), c.Database(t, "busy"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	day := time.Date(2031, 5, 20, 0, 0, 0, 0, time.UTC)
	const each = 100
	errs := make(chan error, 4)
	for w := range 4 {
		go func() {
			var err error
			for i := 0; i < each && err == nil; i++ {
				id := fmt.Sprintf("%d-%d", w, i)
				err = s.Update(t.Context(), func(tx fleet.Tx) error {
					return tx.PutResult(&fleet.Result{ID: id, Host: "h" + id, Evidence: id, At: day.AddDate(0, -i%12, 0), State: fleet.Pass})
				})
			}
			errs <- err
		}()
	}
	for i := range 12 {
		require.NoError(t, s.Maintain(t.Context(), day, day.AddDate(0, i-12, 0)))
	}
	for range 4 {
		require.NoError(t, <-errs)
	}
	require.NoError(t, s.View(t.Context(), func(r fleet.Reader) error {
		all, err := r.History(time.Time{}, "", 1000)
		require.Len(t, all, 4*each, "each is the last of its machine")
		return err
	}))
}

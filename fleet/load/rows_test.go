package load

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/postgres"
	"github.com/assay-hw/assay/fleet/sqlite"
	"github.com/assay-hw/assay/fleet/storetest"
)

const rows = "ASSAY_LOAD_ROWS"

// Lists of machines in a store of very many rows: every order, filter and search, from
// the first page and from the middle, give full pages without a row twice, and say
// how long they took.
func TestRowsSQLite(t *testing.T) {
	wanted(t, "sqlite")
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "fleet.db"))
	require.NoError(t, err)
	pages(t, store)
}

func TestRowsPostgreSQL(t *testing.T) {
	wanted(t, "postgres")
	store, err := postgres.Open(t.Context(), storetest.NewCluster(t).Database(t, "rows"))
	require.NoError(t, err)
	pages(t, store)
}

var states = []fleet.State{fleet.Pass, fleet.Pass, fleet.Pass, fleet.Pass, fleet.Pass, fleet.Pass, fleet.Pass, fleet.Review, fleet.Stale, fleet.Fail}

func fill(t *testing.T, store fleet.Store, n int) {
	t.Helper()
	const batch = 5000
	for from := 0; from < n; from += batch {
		require.NoError(t, store.Update(t.Context(), func(tx fleet.Tx) error {
			for i := from; i < min(n, from+batch); i++ {
				at := labTime.Add(time.Duration(i*7919%n) * time.Second)
				h := &fleet.Host{
					ID: fmt.Sprintf("h-%07d", i), Name: fmt.Sprintf("node-%07d.example", i*7919%n), Site: fmt.Sprintf("site-%d", i%40), State: states[i%len(states)], Since: at, LastAttested: at, NextDue: at.Add(24 * time.Hour),
					Mode: fleet.ByAgent, Profile: fmt.Sprintf("%064x", i%100), Interval: 24 * time.Hour, EnrolledAt: labTime,
					Identity: fleet.Identity{EKSHA256: fmt.Sprintf("%064x", i), AKName: fmt.Sprintf("000b%064x", i), AK: make([]byte, 90), Chassis: fleet.Chassis{Manufacturer: "Assay Lab Computer Inc.", Product: "SYS-6029LAB-TR", Serial: fmt.Sprintf("S-%08d", i), UUID: fmt.Sprintf("30313233-3435-3637-3839-%012x", i)}},
				}
				if err := tx.PutHost(h); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

func pages(t *testing.T, store fleet.Store) {
	n := 2000
	if v := os.Getenv(rows); v != "" {
		var err error
		n, err = strconv.Atoi(v)
		require.NoError(t, err, rows)
	}
	begun := time.Now()
	fill(t, store, n)
	require.NoError(t, store.Maintain(t.Context(), labTime, labTime.AddDate(0, 1, 0)))
	t.Logf("%d machines stored in %.0f s", n, time.Since(begun).Seconds())
	middle := n / 2
	for name, q := range map[string]fleet.HostQuery{
		"by name": {}, "by name, backwards": {Desc: true}, "by state": {Sort: "state"}, "by the last audit": {Sort: "lastAttested"}, "by the last change": {Sort: "since", Desc: true},
		"of one state": {State: fleet.Fail}, "of one site": {Site: "site-7"}, "of one kind": {Profile: fmt.Sprintf("%064x", 42)}, "of a site and a state": {Site: "site-7", State: fleet.Stale, Sort: "since"},
		"names that begin with": {Text: fmt.Sprintf("node-%07d", middle)[:10]}, "names that all begin with": {Text: "node"}, "a serial number": {Text: fmt.Sprintf("s-%08d", middle)},
		"a part of a UUID": {Text: fmt.Sprintf("3839-%012x", middle)}, "what nobody has": {Text: "no machine has this"},
	} {
		q.Limit = 50
		first := listed(t, store, name, q)
		if len(first) < q.Limit {
			continue
		}
		q.After = first[len(first)-1].Key(q.Sort)
		second := listed(t, store, name+", next page", q)
		for _, h := range second {
			require.False(t, slices.ContainsFunc(first, func(o fleet.Host) bool { return o.ID == h.ID }), "%s: %s twice", name, h.ID)
		}
	}
	require.NoError(t, store.Close())
}

func listed(t *testing.T, store fleet.Store, name string, q fleet.HostQuery) (hs []fleet.Host) {
	t.Helper()
	begun := time.Now()
	require.NoError(t, store.View(t.Context(), func(r fleet.Reader) (err error) { hs, err = r.Hosts(q); return err }))
	t.Logf("%-40s %3d machines in %8.1f ms", name, len(hs), float64(time.Since(begun).Microseconds())/1000)
	return hs
}

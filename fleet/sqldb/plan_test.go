package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/postgres"
	"github.com/assay-hw/assay/fleet/sqldb"
	"github.com/assay-hw/assay/fleet/sqlite"
	"github.com/assay-hw/assay/fleet/storetest"
)

// explaining is a connection that answers with how a statement would be run, and
// has no rows.
type explaining struct {
	db      *sql.DB
	explain string
	number  func(string) string
	plan    []string
}

type noRows struct{}

func (noRows) Next() bool        { return false }
func (noRows) Scan(...any) error { return nil }
func (noRows) Err() error        { return nil }
func (noRows) Close()            {}

func (e *explaining) Exec(context.Context, string, ...any) (int64, error) { return 0, nil }

func (e *explaining) Query(ctx context.Context, q string, args ...any) (sqldb.Rows, error) {
	rows, err := e.db.QueryContext(ctx, e.explain+e.number(q), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	cols, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	e.plan = nil
	for rows.Next() {
		cells := make([]any, len(cols))
		for i := range cells {
			cells[i] = new(any)
		}
		if err := rows.Scan(cells...); err != nil {
			return nil, err
		}
		e.plan = append(e.plan, fmt.Sprint(*cells[len(cells)-1].(*any)))
	}
	return noRows{}, rows.Err()
}

// hostPages are the lists of machines that the pages show.
func hostPages() map[string]fleet.HostQuery {
	after := fleet.Host{ID: "h500", Name: "node-500", State: fleet.Pass, Since: time.Unix(1, 0), LastAttested: time.Unix(1, 0)}
	out := map[string]fleet.HostQuery{}
	for _, desc := range []bool{false, true} {
		for _, sort := range []string{"name", "lastAttested", "since"} {
			q := fleet.HostQuery{Sort: sort, Desc: desc, Limit: 50, After: after.Key(sort)}
			out[fmt.Sprint(sort, " desc ", desc)] = q
			q.Live = true
			out[fmt.Sprint(sort, " desc ", desc, " live")] = q
			q.State = fleet.Pass
			out[fmt.Sprint(sort, " desc ", desc, " of a state")] = q
		}
	}
	out["of a profile"] = fleet.HostQuery{Profile: "p", Sort: "name", After: after.Key("name"), Limit: 50}
	out["of a site"] = fleet.HostQuery{Site: "ams", Sort: "name", After: after.Key("name"), Limit: 50}
	return out
}

// A page of machines reads its rows from an index, in the order of the page: it
// costs the same in a fleet of a million.
func TestPagesUseIndexes(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "fleet.db")
		s, err := sqlite.Open(t.Context(), file)
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		db, err := sql.Open("sqlite", "file:"+file)
		require.NoError(t, err)
		t.Cleanup(func() { _ = db.Close() })
		plans(t, &explaining{db: db, explain: "EXPLAIN QUERY PLAN ", number: func(q string) string { return strings.ReplaceAll(q, "$", "?") }}, []string{"USING INDEX", "USING COVERING INDEX"}, []string{"TEMP B-TREE"})
	})
	t.Run("postgres", func(t *testing.T) {
		url := storetest.NewCluster(t).Database(t, "plans")
		s, err := postgres.Open(t.Context(), url)
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		cfg, err := pgx.ParseConfig(url)
		require.NoError(t, err)
		db := stdlib.OpenDB(*cfg)
		t.Cleanup(func() { _ = db.Close() })
		fill(t, s)
		_, err = db.ExecContext(t.Context(), "ANALYZE host")
		require.NoError(t, err)
		plans(t, &explaining{db: db, explain: "EXPLAIN ", number: func(q string) string { return q }}, []string{"Index Scan"}, []string{"Sort", "Seq Scan"})
	})
}

// fill gives the planner something to choose an index for.
func fill(t *testing.T, s fleet.Store) {
	t.Helper()
	start := time.Unix(1_700_000_000, 0)
	states := []fleet.State{fleet.Pass, fleet.Pass, fleet.Pass, fleet.Fail, fleet.Stale}
	require.NoError(t, s.Update(t.Context(), func(tx fleet.Tx) error {
		for i := range 4000 {
			at := start.Add(time.Duration(i*7919%4000) * time.Minute)
			h := &fleet.Host{ID: fmt.Sprintf("h%05d", i), Name: fmt.Sprintf("node-%05d", i), Site: fmt.Sprint("site-", i%20), Profile: fmt.Sprint("p", i%20), State: states[i%5], Mode: fleet.ByAgent, LastAttested: at, Since: at}
			h.Identity.EKSHA256 = h.ID
			if err := tx.PutHost(h); err != nil {
				return err
			}
		}
		return nil
	}))
}

func plans(t *testing.T, e *explaining, want, never []string) {
	t.Helper()
	for name, q := range hostPages() {
		_, err := sqldb.NewSession(t.Context(), e, sqldb.Dialect{}, false).Hosts(q)
		require.NoError(t, err, name)
		plan := strings.Join(e.plan, "\n")
		uses := false
		for _, w := range want {
			uses = uses || strings.Contains(plan, w)
		}
		require.True(t, uses, "%s: %s", name, plan)
		for _, n := range never {
			require.NotContains(t, plan, n, "%s: %s", name, plan)
		}
	}
}

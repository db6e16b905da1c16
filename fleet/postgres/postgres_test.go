package postgres_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/postgres"
	"github.com/assay-hw/assay/fleet/storetest"
)

func TestStore(t *testing.T) {
	c := storetest.NewCluster(t)
	storetest.Run(t, func(t *testing.T, name string) fleet.Store {
		s, err := postgres.Open(t.Context(), c.Database(t, strings.ReplaceAll(name, " ", "_")))
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		return s
	})
}

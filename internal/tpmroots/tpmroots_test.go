package tpmroots_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/tpmroots"
)

func TestEveryCertificateIsAnAuthorityThatCanBeRead(t *testing.T) {
	roots, err := tpmroots.Roots()
	require.NoError(t, err)
	below, err := tpmroots.Intermediates()
	require.NoError(t, err)
	require.Greater(t, len(roots), 10)
	require.Greater(t, len(below), 100)
	for _, der := range append(roots, below...) {
		c, err := ekcert.Parse(der)
		require.NoError(t, err)
		require.True(t, c.CA, c.Subject)
	}
}

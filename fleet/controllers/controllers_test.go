package controllers

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/manifest/redfish"
)

// bmc is a management controller that wants a name and a password.
type bmc struct {
	*httptest.Server
	greeted int // requests that brought a password, whichever
}

func newBMC(t *testing.T) *bmc {
	t.Helper()
	const v1 = "/redfish/v1"
	docs := map[string]string{
		v1:                `{"@odata.id":"/redfish/v1/","@odata.type":"#ServiceRoot.v1_5_0.ServiceRoot","Systems":{"@odata.id":"/redfish/v1/Systems"}}`,
		v1 + "/Systems":   `{"@odata.id":"/redfish/v1/Systems","@odata.type":"#C.C","Members":[{"@odata.id":"/redfish/v1/Systems/1"}]}`,
		v1 + "/Systems/1": `{"@odata.id":"/redfish/v1/Systems/1","@odata.type":"#ComputerSystem.v1_0_0.ComputerSystem","Id":"1","Manufacturer":"Lab","Model":"R1","SerialNumber":"BMC-1"}`,
	}
	b := &bmc{}
	b.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); ok {
			b.greeted++
			if u != "assay" || p != "secret word" {
				http.Error(w, "who?", http.StatusUnauthorized)
				return
			}
		}
		if doc, ok := docs[strings.TrimSuffix(r.URL.Path, "/")]; ok {
			fmt.Fprint(w, doc)
			return
		}
		http.NotFound(w, r)
	}))
	b.Config.ErrorLog = nil
	t.Cleanup(b.Close)
	return b
}

func accounts(t *testing.T, text string) (*Accounts, error) {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "password"), []byte("secret word\n"), 0o600))
	name := filepath.Join(dir, "controllers.yaml")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return Read(name)
}

func TestAControllerIsAsked(t *testing.T) {
	c := newBMC(t)
	a, err := accounts(t, "accounts:\n- addresses: [127.0.0.0/8]\n  user: assay\n  passwordFile: password\n")
	require.NoError(t, err)
	b, pin, err := a.Ask(t.Context(), &fleet.Host{Address: c.URL})
	require.NoError(t, err)
	sum := sha256.Sum256(c.Certificate().Raw)
	require.Equal(t, hex.EncodeToString(sum[:]), pin)
	require.True(t, redfish.Alone(b), "nothing of the server itself is in the evidence")
	inv, err := redfish.Inventory(b, "")
	require.NoError(t, err)
	system, _ := inv.Part("system")
	require.Equal(t, "BMC-1", system.Identity.Serial)

	_, again, err := a.Ask(t.Context(), &fleet.Host{Address: c.URL, Pin: pin})
	require.NoError(t, err)
	require.Empty(t, again, "it is known")
}

// G06, G18: a password goes to whom the file of accounts names, and to no other
// certificate than the pinned one.
func TestG18NobodyElseLearnsThePassword(t *testing.T) {
	c := newBMC(t)
	a, err := accounts(t, "accounts:\n- addresses: ['*.bmc.example', 192.0.2.0/24]\n  user: assay\n  passwordFile: password\n")
	require.NoError(t, err)
	_, _, err = a.Ask(t.Context(), &fleet.Host{Address: c.URL})
	require.ErrorContains(t, err, "no account")

	a, err = accounts(t, "accounts:\n- addresses: [127.0.0.1/32]\n  user: assay\n  passwordFile: password\n")
	require.NoError(t, err)
	_, _, err = a.Ask(t.Context(), &fleet.Host{Address: c.URL, Pin: strings.Repeat("ab", 32)})
	require.ErrorIs(t, err, server.ErrOtherController)
	require.Zero(t, c.greeted)

	c.Close()
	_, _, err = a.Ask(t.Context(), &fleet.Host{Address: c.URL})
	require.Error(t, err, "a controller that does not answer is no empty machine")
	require.NotErrorIs(t, err, server.ErrOtherController)
}

// G17: a controller that answers with anything else than its tree is no machine, and
// takes nobody elsewhere.
func TestG17HostileController(t *testing.T) {
	reached := false
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	t.Cleanup(elsewhere.Close)
	for name, answer := range map[string]http.HandlerFunc{
		"a redirect":   func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"no JSON":      func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
		"a large body": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("["), 8<<20)) },
		"an error":     func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
	} {
		c := httptest.NewTLSServer(answer)
		c.Config.ErrorLog = nil
		a, err := accounts(t, "accounts:\n- addresses: [127.0.0.0/8]\n")
		require.NoError(t, err)
		b, _, err := a.Ask(t.Context(), &fleet.Host{Address: c.URL})
		if err == nil { // it is kept as it came, and no machine can be read of it
			_, err = redfish.Inventory(b, "")
		}
		require.Error(t, err, name)
		c.Close()
	}
	require.False(t, reached)
}

func TestAccountsThatAreWrong(t *testing.T) {
	for want, text := range map[string]string{
		"addresses are needed": "accounts:\n- user: assay\n  passwordFile: password\n",
		"want a prefix":        "accounts:\n- addresses: ['*']\n  user: assay\n  passwordFile: password\n",
		"passwordFile":         "accounts:\n- addresses: [192.0.2.0/24]\n  user: assay\n  passwordFile: elsewhere\n",
		"user is missing":      "accounts:\n- addresses: [192.0.2.0/24]\n  passwordFile: password\n",
		"field adresses":       "accounts:\n- adresses: [192.0.2.0/24]\n",
	} {
		_, err := accounts(t, text)
		require.ErrorContains(t, err, want)
	}
}

package assay

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
)

// account is one that a management controller may have.
type account struct {
	Name string `json:"name" yaml:"name"`
	Role string `json:"role,omitempty" yaml:"role"` // as the controller calls it; empty is any but an administrator's
}

func checkAccounts(as []account) error {
	seen := map[string]bool{}
	for _, a := range as {
		if a.Name == "" {
			return errors.New("name is missing")
		}
		if seen[a.Name] {
			return fmt.Errorf("%s stands twice", a.Name)
		}
		seen[a.Name] = true
	}
	return nil
}

// administrator is the role of Redfish that may change everything (DSP0266 1.20,
// 13.5.3); vendors call theirs so too.
const administrator = "administrator"

// accounts holds the accounts of management controllers against the policy's
// (PO-002): who was in a controller leaves a way back. The collector leaves accounts
// alone, since names of people are no part of a machine; captured trees have them.
func (a *appraisal) accounts() {
	held := a.Evidence.Glob("redfish/*/redfish/v1/AccountService/Accounts/*/index.json")
	switch {
	case len(held) == 0 && a.Policy.Accounts != nil:
		a.skip("accounts of the management controller", "not in the evidence")
		return
	case len(held) > 0 && a.Policy.Accounts == nil:
		a.skip("accounts of the management controller", "the policy declares none to hold them against")
		return
	}
	for _, name := range held {
		a.account(name)
	}
}

func (a *appraisal) account(name string) {
	raw, _ := a.Evidence.Read(name)
	var got struct {
		UserName string `json:"UserName"`
		RoleID   string `json:"RoleId"`
		Enabled  *bool  `json:"Enabled"`
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		a.skip("account "+name, "it is no account in JSON")
		return
	}
	if got.UserName == "" {
		return // a place for an account that nobody uses
	}
	on := got.Enabled == nil || *got.Enabled
	admin := ids.Key(got.RoleID) == administrator
	f := finding.New(finding.ConfigurationDrift, "account:"+path.Base(path.Dir(name)))
	f.Got = fmt.Sprintf("%s, role %s", ids.Clean(got.UserName), ids.Clean(got.RoleID))
	f.Sources = []finding.Source{finding.BMCTold}
	f.Basis = []finding.Basis{{Artifact: name, SHA256: a.Evidence.SHA256(name), Length: int64(len(raw))}}
	i := slices.IndexFunc(a.Policy.Accounts, func(x account) bool { return x.Name == got.UserName })
	switch {
	case i < 0:
		f.Want, f.Why = "an account that the policy declares", "The management controller has an account that nobody declared."
	case a.Policy.Accounts[i].Role == "" && !admin, a.Policy.Accounts[i].Role != "" && strings.EqualFold(a.Policy.Accounts[i].Role, got.RoleID):
		return
	default:
		f.Want, f.Why = a.Policy.Accounts[i].Name+", role "+a.Policy.Accounts[i].Role, "The account has another role than the policy declares."
	}
	switch {
	case !on:
		f.Severity = finding.Low
		f.Why += " It is switched off."
	case !admin:
		f.Severity = finding.Medium
	}
	a.found = append(a.found, f)
}

package attest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/efi"
	"github.com/assay-hw/assay/internal/tcglog"
)

// Variable is an EFI variable as a log shows it.
type Variable struct {
	Event int // number of the event in the log
	GUID  string
	Name  string
	Data  []byte // aliases the log
}

// measuredVariable is a variable as the log shows it, where the digest covers
// what is shown.
type measuredVariable struct {
	event *tcglog.Event
	efi.Variable
}

// measuredVariables returns the variables of configuration and boot events
// whose data their digest covers.
func (o *Observation) measuredVariables() []measuredVariable {
	if o.events == nil {
		return nil
	}
	return o.events.facts().variables
}

// variablesOf returns the variables of those configuration and boot events that
// a caller believes.
func variablesOf(l *tcglog.Log, believed func(i int) bool) []measuredVariable {
	n := 0
	for i := range l.Events {
		if isVariable(&l.Events[i]) {
			n++
		}
	}
	out := make([]measuredVariable, 0, n)
	for i := range l.Events {
		e := &l.Events[i]
		if !isVariable(e) || !believed(i) {
			continue
		}
		if v, _, err := efi.ParseVariable(e.Data); err == nil {
			out = append(out, measuredVariable{e, v})
		}
	}
	return out
}

func isVariable(e *tcglog.Event) bool {
	return e.Type == tcglog.EFIVariableDriver || e.Type == tcglog.EFIVariableBoot || e.Type == tcglog.EFIVariableBoot2
}

// keyVariables are the Secure Boot variables, which only a signed update or a
// visit to the setup changes.
var keyVariables = map[string]string{
	"SecureBoot": efi.GlobalVariable, "PK": efi.GlobalVariable, "KEK": efi.GlobalVariable,
	"db": efi.ImageSecurity, "dbx": efi.ImageSecurity, "dbt": efi.ImageSecurity, "dbr": efi.ImageSecurity,
	"SetupMode": efi.GlobalVariable, "AuditMode": efi.GlobalVariable, "DeployedMode": efi.GlobalVariable,
}

// variableFindings holds the EFI variables in evidence against those that the
// firmware measured. The log is covered by the TPM, the variables are not; and
// a running system may change them, so that a difference is a hint.
func (o *Observation) variableFindings() []finding.Finding {
	var fs []finding.Finding
	seen := map[string]bool{}
	for _, m := range o.measured {
		_, security := keyVariables[m.Name]
		if !security && !strings.HasPrefix(m.Name, "Boot") {
			continue
		}
		guid := m.GUID.String()
		boot := m.Name == "BootOrder" || strings.HasPrefix(m.Name, "Boot") && guid == efi.GlobalVariable
		key := m.Name + "-" + guid
		now, ok := o.variables[key]
		if !security && !boot || !ok || seen[key] || bytes.Equal(now, m.Data) {
			continue
		}
		seen[key] = true
		f := o.logFinding(finding.SourcesContradict, "efivar:"+subjectText(key), m.event)
		f.Severity = finding.Low
		if m.Name == "SecureBoot" {
			f.Severity = finding.Medium // no operating system can change it
		}
		f.Want, f.Got = fmt.Sprintf("sha256:%x", sha256.Sum256(m.Data)), fmt.Sprintf("sha256:%x", sha256.Sum256(now))
		f.Sources = []finding.Source{finding.Cryptographic, finding.FirmwareTold}
		f.Basis = append(f.Basis, o.basis(efivarsDir+"/"+key, 0, 0)...)
		f.Why = "The variable no longer has the value that the firmware measured at this boot; the running system may have changed it since."
		fs = append(fs, f)
	}
	return fs
}

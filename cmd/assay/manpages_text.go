package main

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// manTerm is something of the outside that commands look at: those that have
// one of these options, or one of these names.
type manTerm struct {
	name, text string
	options    []string
	commands   []string
}

// manEnvironment are the variables that are read, by this program or by what it
// is made with.
var manEnvironment = []manTerm{
	{name: "NO_COLOR", text: "When set, output has no colours, as with --no-color.", options: []string{"no-color"}},
	{name: "ASSAY_MESSAGES", text: "File with the fixed texts of reports in another language; assay docs messages prints what there is to translate.", options: []string{"all"}},
	{name: "ASSAY_SANDBOX", text: "What commands that parse give up before they read: auto (default) takes what there is, require ends with 70 where something is missing, off does without.", options: []string{"limit"}, commands: []string{"assay version"}},
	{name: "TMPDIR", text: "Directory for what does not fit into memory, such as large bundles and images; default /tmp.", options: []string{"limit", "uki"}},
	{name: "XDG_CACHE_HOME", text: "Downloads are kept in its directory assay; default ~/.cache.", options: []string{"cache"}},
	{name: "REDFISH_USER, REDFISH_PASSWORD", text: "Name and password for the management controllers of --redfish.", options: []string{"redfish"}},
	{name: "REDFISH_PASSWORD_FILE", text: "File with that password, instead of REDFISH_PASSWORD.", options: []string{"redfish"}},
	{name: "ASSAY_KEY_PIN", text: "PIN of a token, or authorisation value of a key in a TPM, when no pin-source names a file.", options: []string{"key", "sb-key", "ear-key"}},
	{name: "ASSAY_PKCS11_HELPER", text: "The program assay-pkcs11, when it is neither beside assay nor on PATH.", options: []string{"key", "sb-key"}},
	{name: "ASSAY_TOKEN", text: "Token or session for the fleet's server, when --token-file is not given.", options: []string{"token-file"}},
	{name: "ASSAY_PASSWORD", text: "Password of the account, instead of asking for it.", commands: []string{"assay fleet login", "assay fleet people"}},
	{name: "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY", text: "Credentials for the bucket of --blobs.", options: []string{"blobs"}},
	{name: "PGPASSWORD, PGPASSFILE, PGSSLROOTCERT", text: "With the other variables of libpq: how the database of --store is reached, where its address does not say.", options: []string{"store"}},
	{name: "NOTIFY_SOCKET", text: "Where systemd is told that the server serves (Type=notify).", commands: []string{"assay fleet serve"}},
	{name: "SOURCE_DATE_EPOCH", text: "Date of the pages, in seconds since 1970.", commands: []string{"assay manpages"}},
}

// manFiles are the paths that have a meaning.
var manFiles = []manTerm{
	{name: "/dev/tpmrm0", text: "The TPM. Root may open it, and the group tss where the package's or tpm2-tss's udev rule is in force.", options: []string{"tpm"}},
	{name: "DIR/trust.yaml", text: "Beside the roots of --trust: who may speak for which makers and classes.", options: []string{"trust"}},
	{name: "DIR/tsa/", text: "Beside the roots of --trust: roots of time stamping authorities.", options: []string{"trust"}},
	{name: "/etc/assay/trust/", text: "The roots that the packaged server trusts.", commands: []string{"assay fleet serve"}},
	{name: "/etc/assay/fleet.env", text: "Options of assay-fleet.service.", commands: []string{"assay fleet serve"}},
	{name: "/var/lib/assay-fleet/", text: "Store, evidence and keys of assay-fleet.service.", commands: []string{"assay fleet serve"}},
	{name: "/etc/assay/agent.env", text: "Options of assay-agent.service.", commands: []string{"assay fleet agent"}},
	{name: "/etc/assay/token", text: "The token of assay-agent.service.", commands: []string{"assay fleet agent"}},
	{name: "/var/lib/assay-agent/member.json", text: "What the machine remembers of its enrolment; no secret.", commands: []string{"assay fleet agent", "assay fleet enroll"}},
	{name: "../libexec/assay/", text: "From the directory of the program: assay-scanner and assay-sender, when they are not beside it.", commands: []string{"assay image build"}},
}

// concerning are the terms of one command; the first page has all of them.
func concerning(c *cobra.Command, terms []manTerm) [][2]string {
	var out [][2]string
	for _, t := range terms {
		if !c.HasParent() || slices.ContainsFunc(t.options, func(o string) bool { return c.Flags().Lookup(o) != nil }) ||
			slices.ContainsFunc(t.commands, func(p string) bool { return c.CommandPath() == p || strings.HasPrefix(c.CommandPath(), p+" ") }) {
			out = append(out, [2]string{t.name, t.text})
		}
	}
	return out
}

var (
	verdictStatus    = [][2]string{{"0", "Pass."}, {"1", "Fail."}, {"2", "Review: a person has to look at something."}, {"3", "Inconclusive: something that has to be proved was not."}}
	differenceStatus = [][2]string{{"0", "Nothing differs."}, {"1", "Something differs."}}
)

// statusOf has the commands whose exit status says more than whether they did it.
var statusOf = map[string][][2]string{
	"assay":                     verdictStatus,
	"assay verify":              verdictStatus,
	"assay check":               verdictStatus,
	"assay attest verify":       verdictStatus,
	"assay golden verify":       verdictStatus,
	"assay golden lint":         verdictStatus,
	"assay golden diff":         differenceStatus,
	"assay bom diff":            differenceStatus,
	"assay firmware diff":       differenceStatus,
	"assay bom map":             {{"0", "No place is contradicted."}, {"1", "A place is contradicted."}, {"2", "Only a record that is not trusted contradicts a place."}, {"3", "Evidence does not show a part that has a handle."}},
	"assay inspection verify":   {{"0", "The record is trusted, and its attachments are what was signed."}, {"1", "It is not."}, {"3", "Attachments are not at hand."}},
	"assay quirks lint":         {{"0", "Nothing to say against the list."}, {"2", "Review: something to look at."}},
	"assay attest enroll check": {{"0", "The attestation key lives in this TPM."}, {"1", "That is not shown."}},
	"assay fleet status":        {{"0", "All machines pass."}, {"1", "One fails."}, {"2", "One is for review."}, {"3", "One is stale, in error, inconclusive or not judged yet."}},
	"assay fleet audit":         {{"0", "All of them pass."}, {"1", "One fails."}, {"2", "One is for review."}, {"3", "One did not answer, or could not be judged."}},
	"assay fleet import":        {{"0", "Everything was taken in."}, {"3", "Something was not judged yet, or not taken in."}},
	"assay fleet log":           {{"0", "The log is whole, as far as it was checked."}, {"1", "It is not."}},
}

// exitStatus is what the number that a command ends with means.
func exitStatus(path string) [][2]string {
	out := statusOf[path]
	if out == nil {
		out = [][2]string{{"0", "Done."}}
	}
	return append(slices.Clone(out), [][2]string{
		{"64", "Usage: options or arguments are wrong."},
		{"65", "An input cannot be read, is not what it should be, or exceeds a limit."},
		{"70", "Internal error."},
		{"74", "A device cannot be read, a server not be reached, or the output not be written."},
	}...)
}

// lowerFirst leaves words alone that are all capitals.
func lowerFirst(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if second, _ := utf8.DecodeRuneInString(s[n:]); n == 0 || unicode.IsUpper(second) {
		return s
	}
	return string(unicode.ToLower(r)) + s[n:]
}

// Package fleet audits many machines on a schedule: it enrols them, asks them for
// fresh evidence, appraises what they send, remembers what moved, and tells
// somebody.
//
// A machine is known by its TPM, never by a name, a token or an address: the
// endorsement key that a maker certified, and the attestation key that was shown
// to live beside it. What is remembered of a machine is a result that package
// assay gave, and what only a fleet can see: two machines with one identity, a
// part that no machine of its kind has, a machine that went silent.
//
// A failure to judge is never a pass. A machine that was not heard of in time is
// stale, and one whose appraisal failed is in error.
package fleet

import (
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

// State is what the fleet knows of a machine now.
type State string

// The states: those of a verdict, and those of no verdict. Only Pass is good.
const (
	Enrolled     State = "enrolled" // known, not judged yet
	Pass         State = "pass"
	Review       State = "review"
	Fail         State = "fail"
	Inconclusive State = "inconclusive"
	Error        State = "error" // the last evidence could not be appraised
	Stale        State = "stale" // no evidence in time
	Retired      State = "retired"
)

// Mode is how evidence of a machine comes.
type Mode string

// A machine with an agent sends evidence by itself. Of others the server reads
// what the management controller tells, which proves less.
const (
	ByAgent   Mode = "agent"
	ByRedfish Mode = "redfish"
)

// Identity is what a machine is known by. It never changes; another identity is
// another machine, and one that claims a known one's place is refused (FL-004).
type Identity struct {
	EKSHA256 string `json:"ekSha256"` // SHA-256 of the endorsement key's SubjectPublicKeyInfo, lower-case hex
	EKKind   string `json:"ekKind"`   // "rsa-2048", "ecc-p256", ...
	AKName   string `json:"akName"`   // TPM name of the attestation key, hex
	AK       []byte `json:"ak"`       // TPM2B_PUBLIC
	Chassis
}

// Chassis is what the machine said it is when it was enrolled.
type Chassis struct {
	Manufacturer string `json:"manufacturer"`
	Product      string `json:"product"`
	Serial       string `json:"serial"`
	UUID         string `json:"uuid"`
}

// Host is one machine.
type Host struct {
	ID           string           `json:"id"` // given at enrolment, never used again
	Name         string           `json:"name"`
	Site         string           `json:"site"`
	Lot          string           `json:"lot,omitempty"` // of the supplier, where it is known
	Mode         Mode             `json:"mode"`
	Address      string           `json:"address,omitempty"` // of the management controller, when Mode is ByRedfish
	System       string           `json:"system,omitempty"`  // of several that the controller has
	Pin          string           `json:"pin,omitempty"`     // SHA-256 of the controller's certificate
	Identity     Identity         `json:"identity"`
	Policy       string           `json:"policy"` // id of the appraisal policy
	Interval     time.Duration    `json:"interval"`
	NextDue      time.Time        `json:"nextDue"` // when evidence is expected
	EnrolledAt   time.Time        `json:"enrolledAt"`
	LastSeen     time.Time        `json:"lastSeen,omitzero"`     // any authenticated request
	LastAttested time.Time        `json:"lastAttested,omitzero"` // a quote that was verified under this identity
	State        State            `json:"state"`
	Since        time.Time        `json:"since"`              // of the state
	Level        string           `json:"level,omitempty"`    // assurance of the last result
	Result       string           `json:"result,omitempty"`   // id of the last result
	Judged       time.Time        `json:"judged,omitzero"`    // when the evidence of that result came
	Profile      string           `json:"profile,omitempty"`  // of its board: machines of one profile are compared
	Golden       string           `json:"golden,omitempty"`   // digest of the first manifest that it passed (FL-007)
	AuditNow     time.Time        `json:"auditNow,omitzero"`  // an operator asked for evidence
	Networks     []string         `json:"networks,omitempty"` // prefixes that it speaks from
	Placed       string           `json:"placed,omitempty"`   // digest of the ticket that says where it stands; "" when Networks were only seen
	Clock        *Clock           `json:"clock,omitempty"`    // of its TPM, in the last quote that was verified
	Findings     int              `json:"findings"`           // open ones above low
	Worst        finding.Severity `json:"worst,omitempty"`
}

// Clock is what a TPM's own clock and counters were when a quote was made
// (TPMS_CLOCK_INFO, TPM 2.0 part 2, 10.11.1).
type Clock struct {
	Evidence string `json:"evidence"` // digest of what the quote came with
	Millis   uint64 `json:"millis"`   // while the TPM had power, since it was last cleared
	Resets   uint32 `json:"resets"`
	Restarts uint32 `json:"restarts"`
}

// Challenge is a nonce that a machine has to answer until a deadline, once.
type Challenge struct {
	Nonce    []byte
	Host     string // "" while a machine is being enrolled
	Issued   time.Time
	Deadline time.Time
	Data     []byte // what the answer is held against
}

// Evidence is one bundle that was taken in.
type Evidence struct {
	Digest   string // SHA-256 of the list of its artefacts (package blob): the key of a job
	Host     string
	Received time.Time // by the server's clock
	Asked    time.Time // when the nonce was given, by the same clock
	From     string    // address that it came from
	Nonce    []byte
	Size     int64 // bytes as sent
	Blob     string
	Status   string // "accepted", "appraised", "refused"
	Reason   string // why it was refused
}

// Result is one appraisal, as package assay gave it, with the fleet's own
// findings beside it.
type Result struct {
	ID       string            `json:"id"`
	Host     string            `json:"host"`
	Evidence string            `json:"evidence"` // digest
	At       time.Time         `json:"at"`
	State    State             `json:"state"`
	Verdict  assay.Verdict     `json:"verdict"` // of the appraisal alone
	Level    string            `json:"level"`
	Blob     string            `json:"blob"` // the Attestation Result, whole
	Fleet    []finding.Finding `json:"fleet"`

	// Incidents are what the fleet's findings tell together; those of the
	// appraisal are in the Attestation Result.
	Incidents []assay.Incident `json:"incidents,omitempty"`

	Changes []Change `json:"changes"` // since the result before

	// Prev is the result of the machine before, and Seal the server's signature
	// over what this one says and Prev: a result that was edited or removed shows.
	Prev string `json:"prev,omitempty"`
	Seal []byte `json:"seal,omitempty"`
}

// Change is one thing that moved between two results of a machine.
type Change struct {
	Kind    string `json:"kind"` // "state", "finding", "resolved", "firmware", "part"
	Subject string `json:"subject"`
	Old     string `json:"old,omitempty"`
	New     string `json:"new,omitempty"`
}

// Open is a finding of a machine that stands, with its history.
type Open struct {
	Host      string          `json:"host"`
	Finding   finding.Finding `json:"finding"`
	FirstSeen time.Time       `json:"firstSeen"`
	LastSeen  time.Time       `json:"lastSeen"`
	Exception string          `json:"exception,omitempty"` // id of the one that covers it
}

// Fact is something that only one machine may have: a serial number, a key, an
// address.
type Fact struct {
	Kind  string `json:"kind"` // "uuid", "serial", "ek", "ak", "mac", "dsn"
	Value string `json:"value"`
	Host  string `json:"host"`
}

// Feature is something that a machine of a profile has, to be counted: a part in
// a place, a version, a measurement.
type Feature struct {
	Profile string `json:"profile"`
	Key     string `json:"key"`
	Hosts   int    `json:"hosts"` // how many of the profile have it
}

// Document is what the server judges by: a golden manifest, a policy, a list of
// known-bad firmware. It is stored as it was signed.
type Document struct {
	Digest  string    `json:"digest"`
	Kind    string    `json:"kind"` // "golden", "known-bad", "quirks", "policy", "rebind", "place"
	Name    string    `json:"name"`
	Version int64     `json:"version"`
	Signers []string  `json:"signers"`
	Added   time.Time `json:"added"`
	By      string    `json:"by"`
	Retired time.Time `json:"retired,omitzero"`
	About   string    `json:"about,omitempty"` // key of what it is about, "" when that may be any machine
	Raw     []byte    `json:"-"`
}

// Exception accepts one finding on one machine, or on all of a profile, until it
// expires. Two people make one: who asks and who approves.
type Exception struct {
	ID         string       `json:"id"`
	Code       finding.Code `json:"code"`
	Subject    string       `json:"subject"`
	Host       string       `json:"host,omitempty"`
	Profile    string       `json:"profile,omitempty"`
	Reason     string       `json:"reason"`
	Asked      string       `json:"asked"`
	AskedAt    time.Time    `json:"askedAt"`
	Approved   string       `json:"approved,omitempty"`
	ApprovedAt time.Time    `json:"approvedAt,omitzero"`
	OneBehind  string       `json:"oneBehind,omitempty"` // who gave the password to whoever asked or granted, and may be both
	Expires    time.Time    `json:"expires"`
}

// Role is what an operator may do.
type Role string

// A viewer reads; an operator enrols, asks for audits and for exceptions; an
// approver grants what another person asked for.
const (
	Viewer   Role = "viewer"
	Operator Role = "operator"
	Approver Role = "approver"
)

// Account is a person, or an enrolment token, which gives no asset identity.
type Account struct {
	Name     string    `json:"name"`
	Role     Role      `json:"role"`              // "" for an enrolment token
	Subject  string    `json:"subject,omitempty"` // by which a provider of identities knows the person
	Secret   []byte    `json:"-"`                 // hash of the password or the token
	Created  time.Time `json:"created"`
	Expires  time.Time `json:"expires,omitzero"`
	Disabled bool      `json:"disabled"`
	By       string    `json:"by,omitempty"`    // who gave it its password, until a third person says that it is somebody else's
	Ended    int       `json:"ended,omitempty"` // how often all of its sessions were ended
}

// InForce reports whether an exception counts for a machine: two people made it,
// and it has not expired.
func (x *Exception) InForce(h *Host, now time.Time) bool {
	switch {
	case x.Approved == "" || x.Approved == x.Asked, !now.Before(x.Expires):
		return false
	case x.Host == "" && x.Profile == "":
		return false // for all machines there are policies
	}
	return (x.Host == "" || x.Host == h.ID) && (x.Profile == "" || x.Profile == h.Profile)
}

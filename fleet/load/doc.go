// Package load audits fleets that do not exist: any number of simulated machines,
// some of them tampered with, go through intake, appraisal and settling as real
// ones do, and every machine that was tampered with has to be named, and no other.
//
// A machine is a recorded one of testdata/machines with other boards, parts,
// versions and numbers, and with keys of its own: an attestation key that signs its
// quotes and an endorsement key that a maker's certificate vouches for. The keys
// are in software, so that what a TPM takes for a signature is not in the figures.
// Enrolment is not either: machines are put into the store.
//
// It holds tests only. The small fleet runs with all other tests; make fleet-load
// runs a large one and prints what it took.
package load

// Package platformcert reads and writes TCG platform certificates: the signed
// statement of a maker or an integrator about which machine a TPM sits in, and
// which parts it was built of (TCG Platform Certificate Profile 1.0, 1.1 and
// 2.1, over RFC 5755 attribute certificates and X.509).
//
// Parse reads what the field really writes, and Lint says what a strict reader
// would refuse. Verify makes a *Verified: it proves that a key with a path to a
// given root signed exactly these bytes, at a time when path and certificate
// were valid, and that no given list revokes them. Bound proves that a
// certificate names a given endorsement key certificate by issuer, serial number
// and digest. Assemble proves that a chain of deltas belongs to its base, that
// each signer may change it, and that every change fits the parts before it;
// the result is the list of parts that the machine is said to have.
//
// None of this proves that the maker told the truth, that the list is complete,
// or that the TPM in front of the verifier holds the key of the endorsement key
// certificate: that takes a credential activation, or an enrolled attestation
// key. A certificate that lists no part says nothing about parts; many real ones
// do. Draft makes the same list of certificates that nobody checked, for people
// to review.
package platformcert

package platformcert

import (
	"encoding/asn1"
	"strconv"
	"strings"
)

// Object identifiers of the TCG, under 2.23.133 (Platform Certificate Profile
// 1.1 r19 and 2.1, section 8 and annexes).
const (
	tcg = "2.23.133."

	attrPlatformSpec   = tcg + "2.17" // TCGPlatformSpecification
	attrTBBAssertions  = tcg + "2.19"
	attrCredentialSpec = tcg + "2.23"
	attrCredentialType = tcg + "2.25"
	attrPrevious       = tcg + "2.26" // previousPlatformCertificates
	attrAnchors        = tcg + "2.28" // cryptographicAnchors
	attrConfigURI      = tcg + "5.1.3"
	attrConfigV1       = tcg + "5.1.7.1"
	attrConfigV2       = tcg + "5.1.7.2"
	attrConfigV3       = tcg + "5.1.7.3"
	attrConfigURIv3    = tcg + "5.1.7.4" // where a public tool writes attrConfigURI
	namePlatformID     = tcg + "5.1.8"   // platformIdentifier, an otherName

	nameManufacturer   = tcg + "5.1.1"
	nameManufacturerID = tcg + "5.1.2"
	nameModel          = tcg + "5.1.4"
	nameVersion        = tcg + "5.1.5"
	nameSerial         = tcg + "5.1.6"

	// TCPA-era names of the platform.
	nameOldManufacturer = tcg + "2.4"
	nameOldModel        = tcg + "2.5"
	nameOldVersion      = tcg + "2.6"
	nameOldSerial       = tcg + "2.23"

	purposeBaseAC    = tcg + "8.2"
	purposeBasePKC   = tcg + "8.4"
	purposeDeltaAC   = tcg + "8.5"
	purposeDeltaPKC  = tcg + "8.6"
	purposeRebaseAC  = tcg + "8.7"
	purposeRebasePKC = tcg + "8.8"

	addressEthernet = tcg + "17.1"

	policyVerifiedPlatform = tcg + "11.1.4"

	noRegistry = tcg + "19.3.1"
)

// Traits: what a value is encoded as (19.1) and what it is about (19.2).
const (
	traitBoolean       = tcg + "19.1.1"
	traitCertificateID = tcg + "19.1.2"
	traitClass         = tcg + "19.1.4"
	traitComponentV11  = tcg + "19.1.5"
	traitMAC           = tcg + "19.1.8"
	traitPEN           = tcg + "19.1.10"
	traitStatus        = tcg + "19.1.16"
	traitUTF8          = tcg + "19.1.18"

	categoryPlatformMaker   = tcg + "19.2.1"
	categoryPlatformModel   = tcg + "19.2.2"
	categoryPlatformVersion = tcg + "19.2.3"
	categoryPlatformSerial  = tcg + "19.2.4"
	categoryPlatformMakerID = tcg + "19.2.5"
	categoryClass           = tcg + "19.2.7"
	categoryMaker           = tcg + "19.2.8"
	categoryModel           = tcg + "19.2.9"
	categorySerial          = tcg + "19.2.10"
	categoryStatus          = tcg + "19.2.11"
	categoryLocation        = tcg + "19.2.12"
	categoryRevision        = tcg + "19.2.13"
	categoryReplaceable     = tcg + "19.2.14"
	categoryEK              = tcg + "19.2.15"
	categoryPlatformCert    = tcg + "19.2.21"
	categoryDelta           = tcg + "19.2.22"
	categoryRebase          = tcg + "19.2.23"
	categoryGenericCert     = tcg + "19.2.24"
	categoryComponentV11    = tcg + "19.2.26"
	categoryMAC             = tcg + "19.2.29"
	categoryPEN             = tcg + "19.2.31"
	categoryPartNumber      = tcg + "19.2.38"
)

// Object identifiers of X.509.
const (
	extSubjectDirectory = "2.5.29.9"
	extSubjectKeyID     = "2.5.29.14"
	extKeyUsage         = "2.5.29.15"
	extSubjectAltName   = "2.5.29.17"
	extConstraints      = "2.5.29.19"
	extCRLPoints        = "2.5.29.31"
	extPolicies         = "2.5.29.32"
	extAuthorityKeyID   = "2.5.29.35"
	extPurposes         = "2.5.29.37"
	extTargets          = "2.5.29.55"
	extNoRevocation     = "2.5.29.56"
	extAuthorityInfo    = "1.3.6.1.5.5.7.1.1"

	qualifierNotice = "1.3.6.1.5.5.7.2.2"
)

// oid turns the dotted form into the form that encoders take; the forms here
// are constants, or come out of a decoder.
func oid(s string) asn1.ObjectIdentifier {
	parts := strings.Split(s, ".")
	out := make(asn1.ObjectIdentifier, len(parts))
	for i, p := range parts {
		n, err := strconv.Atoi(p)
		if err != nil {
			return nil
		}
		out[i] = n
	}
	return out
}

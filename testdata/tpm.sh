#!/bin/sh
# Plays the TPM of a machine, with the certificate of a maker that is made for it, and
# the machine's boot as its event log has it: "sh tpm.sh start TREE" and "sh tpm.sh
# stop", in one directory. Needs Debian's packages swtpm and swtpm-tools.
set -eu
here=$PWD
case ${1:-} in
start)
	for p in swtpm swtpm_setup swtpm_localca; do
		command -v $p >/dev/null || { echo "tpm.sh: needs $p: apt-get install swtpm swtpm-tools" >&2; exit 1; }
	done
	mkdir -p tpm ca
	printf 'statedir = %s/ca\nsigningkey = %s/ca/key.pem\nissuercert = %s/ca/issuer.pem\ncertserial = %s/ca/serial\n' "$here" "$here" "$here" "$here" >ca/config
	printf -- '--platform-manufacturer Example\n--platform-version 1\n--platform-model Try\n' >ca/options
	printf 'create_certs_tool = %s\ncreate_certs_tool_config = %s/ca/config\ncreate_certs_tool_options = %s/ca/options\n' "$(command -v swtpm_localca)" "$here" "$here" >ca/setup
	swtpm_setup --tpm2 --tpmstate tpm --config ca/setup --create-ek-cert --pcr-banks sha1,sha256,sha384 --overwrite >ca/log 2>&1 || { cat ca/log >&2; exit 1; }
	swtpm socket --tpm2 --tpmstate dir="$here/tpm" --server type=unixio,path="$here/tpm/sock" --flags not-need-init,startup-clear --daemon --pid file="$here/tpm/pid"
	mkdir -p tpm-makers && cp ca/*.pem tpm-makers/ && rm -f tpm-makers/key.pem tpm-makers/*key*
	for _ in 1 2 3 4 5 6 7 8 9 10; do [ -S tpm/sock ] && break || sleep 0.2; done
	assay docs boot "$2/sys/kernel/security/tpm0/binary_bios_measurements" --tpm "swtpm:$here/tpm/sock"
	echo "a TPM answers at swtpm:$here/tpm/sock; tpm-makers/ has the certificates of its maker"
	;;
stop) kill "$(cat tpm/pid)" ;;
*) echo "usage: sh tpm.sh start TREE | stop" >&2; exit 64 ;;
esac

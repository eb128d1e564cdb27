package process

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// standard are the capabilities that root has in a container, and further those
// that it may be given besides: they reach no further than its namespaces. Without
// devices, none of them opens the machine's.
var (
	standard = map[string]int{
		"CHOWN": unix.CAP_CHOWN, "DAC_OVERRIDE": unix.CAP_DAC_OVERRIDE, "FSETID": unix.CAP_FSETID, "FOWNER": unix.CAP_FOWNER, "NET_RAW": unix.CAP_NET_RAW,
		"SETGID": unix.CAP_SETGID, "SETUID": unix.CAP_SETUID, "SETFCAP": unix.CAP_SETFCAP, "SETPCAP": unix.CAP_SETPCAP, "NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE,
		"SYS_CHROOT": unix.CAP_SYS_CHROOT, "KILL": unix.CAP_KILL,
	}
	further = map[string]int{"IPC_LOCK": unix.CAP_IPC_LOCK, "IPC_OWNER": unix.CAP_IPC_OWNER, "NET_ADMIN": unix.CAP_NET_ADMIN, "NET_BROADCAST": unix.CAP_NET_BROADCAST}
)

// capabilities are those that root has, by bits.
func capabilities(add, drop []string) (bits uint64, err error) {
	if !slices.Contains(drop, "ALL") {
		for _, n := range standard {
			bits |= 1 << n
		}
	}
	var refused []string
	for _, name := range add {
		if bit, ok := capability(name); ok {
			bits |= bit
		} else {
			refused = append(refused, name)
		}
	}
	if len(refused) > 0 {
		return 0, &NotRunError{Why: fmt.Sprintf("the capabilities %s would reach out of its namespaces, and are not given here", strings.Join(refused, ", "))}
	}
	for _, name := range drop {
		if bit, ok := capability(name); ok {
			bits &^= bit
		}
	}
	return bits, nil
}

func capability(name string) (bit uint64, ok bool) {
	name = strings.TrimPrefix(name, "CAP_")
	n, ok := standard[name]
	if !ok {
		n, ok = further[name]
	}
	return 1 << n, ok
}

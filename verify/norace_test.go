//go:build !race

package verify_test

const detectingRaces = false

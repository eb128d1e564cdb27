//go:build !race

package images_test

const detectingRaces = false

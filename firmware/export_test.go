package firmware

// AMDFlash is for tests of packages that import this one.
var AMDFlash = amdFlash

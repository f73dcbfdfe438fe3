/* Whether this CPU, and its system, run what the other files are compiled to. */
int supported(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bf16");
}

/* SHA-256 of the sources that this was made from, in hex; setup.py gives it. */
const char *sources(void) { return TUNEWARD_SOURCES; }

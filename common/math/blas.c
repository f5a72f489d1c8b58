#include "common/math/blas.h"

#include "common/base/log.h"

#define TRIB_LOG_MODULE "blas"

#ifdef TRIB_WITH_OPENBLAS

#include <cblas.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool is_concurrent = true; // may two threads multiply at once?
static const char *core = "";
static const struct trib_kernels *base; // of our own
static struct trib_kernels kernels;

static __typeof__(cblas_sgemm) *openblas_sgemm;

// Debian's OpenBLAS does not know newer CPU families and falls back to its SSE3 kernels
// ("Prescott"),
// 4.5 to 7 times slower (OpenMathLib/OpenBLAS #4267), or to those for AVX2 ("Haswell") where there
// is AVX-512. What to ask for instead, by the CPU's features, never by its model number: a wrong
// answer would be an illegal instruction.
static const char *better_core_type(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512cd"))
        return "SkylakeX";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "Haswell";
#endif
    return NULL;
}

struct library {
    void *handle;
    char *(*core_name)(void);
    int (*parallel)(void); // 0: the serial build, which shares its buffers between threads unlocked
};

// Debian's serial OpenBLAS spoils the products of concurrent callers: those take turns.
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static bool load_library(struct library *library)
{
    library->handle = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library->handle)
        return false;
    // ISO C has no conversion from object to function pointers; POSIX dlsym is used through memcpy.
    void *symbol = dlsym(library->handle, "cblas_sgemm");
    memcpy(&openblas_sgemm, &symbol, sizeof(symbol));
    symbol = dlsym(library->handle, "openblas_get_corename");
    memcpy(&library->core_name, &symbol, sizeof(symbol));
    symbol = dlsym(library->handle, "openblas_get_parallel");
    memcpy(&library->parallel, &symbol, sizeof(symbol));
    if (openblas_sgemm && library->core_name && library->parallel)
        return true;
    (void)dlclose(library->handle);
    openblas_sgemm = NULL;
    return false;
}

static bool is_slower(const char *chosen, const char *wanted)
{
    return strcmp(chosen, "Prescott") == 0 ||
           (strcmp(chosen, "Haswell") == 0 && strcmp(wanted, "SkylakeX") == 0);
}

// The library reads its environment in its constructor, so it is loaded by hand after these are
// set; when it chose lesser kernels than the machine has, it is loaded again.
static void load(void)
{
    struct library library;
    (void)setenv("OPENBLAS_NUM_THREADS", "1", 1);
    if (!load_library(&library)) {
        TRIB_WARN("libopenblas.so.0 cannot be loaded");
        return;
    }
    const char *wanted = better_core_type();
    if (wanted && is_slower(library.core_name(), wanted) && !getenv("OPENBLAS_CORETYPE")) {
        (void)dlclose(library.handle);
        (void)setenv("OPENBLAS_CORETYPE", wanted, 1);
        if (!load_library(&library))
            return;
    }
    is_concurrent = library.parallel() != 0;
    core = library.core_name();
}

// ---- Its products

// c = alpha * op(a) op(b) + beta * c
static void multiply(const struct trib_product *p, bool is_b_transposed, float beta)
{
    const bool is_a_transposed = p->a_step != 1;
    if (!is_concurrent)
        (void)pthread_mutex_lock(&turn);
    openblas_sgemm(CblasRowMajor, is_a_transposed ? CblasTrans : CblasNoTrans,
                   is_b_transposed ? CblasTrans : CblasNoTrans, p->m, p->n, p->k, p->alpha, p->a,
                   (int)(is_a_transposed ? p->a_step : p->a_row), p->b, (int)p->b_row, beta, p->c,
                   (int)p->c_row);
    if (!is_concurrent)
        (void)pthread_mutex_unlock(&turn);
}

static void run(const struct trib_product *p, bool is_b_transposed)
{
    const size_t row_size = (size_t)p->n * sizeof(float);
    for (int i = 0; p->bias && i < p->m; i++)
        memcpy(p->c + i * p->c_row, p->bias, row_size);
    multiply(p, is_b_transposed, p->bias ? 1 : p->beta);
    for (int i = 0; i < p->m && (p->is_relu || p->gate); i++) {
        float *c = p->c + i * p->c_row;
        const float *gate = p->gate ? p->gate + i * p->c_row : NULL;
        for (int j = 0; j < p->n; j++) {
            const bool is_kept = (!p->is_relu || c[j] > 0) && (!gate || gate[j] > 0);
            c[j] = is_kept ? c[j] : 0;
        }
    }
}

// Rows of a that overlap, a second sum or nothing to add: the library has no words for these.
static void products(const struct trib_product *p)
{
    const bool lies = p->a_step == 1 ? p->a_row >= p->k : p->a_row == 1 && p->a_step >= p->m;
    if (lies && p->k2 == 1 && p->m > 0 && p->n > 0 && p->k > 0)
        run(p, false);
    else
        base->products(p);
}

static void dots(const struct trib_product *p)
{
    if (p->a_row >= p->k && p->b_row >= p->k && p->m > 0 && p->n > 0 && p->k > 0)
        run(p, true);
    else
        base->dots(p);
}

const struct trib_kernels *trib_blas_kernels(const struct trib_kernels *own)
{
    (void)pthread_once(&once, load);
    if (!openblas_sgemm)
        return NULL;
    if (!base) {
        kernels = *own;
        kernels.name = "openblas";
        kernels.products = products;
        kernels.dots = dots;
        base = own;
    }
    return &kernels;
}

const char *trib_blas_core(void)
{
    return core;
}

bool trib_blas_is_concurrent(void)
{
    return is_concurrent;
}

#else

const struct trib_kernels *trib_blas_kernels(const struct trib_kernels *own)
{
    (void)own;
    TRIB_WARN("this build has no OpenBLAS");
    return NULL;
}

const char *trib_blas_core(void)
{
    return "";
}

bool trib_blas_is_concurrent(void)
{
    return true;
}

#endif

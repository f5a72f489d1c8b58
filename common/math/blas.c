#include "common/math/blas.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"

#define TRIB_LOG_MODULE "blas"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool is_concurrent = true; // may two threads multiply at once?
static char kernels_name[64] = "plain";

// ---- Plain C: four rows of c at a time, so that each row of b is read from cache

static float element(const float *matrix, int ld, bool transpose, int row, int column)
{
    return transpose ? matrix[(long)column * ld + row] : matrix[(long)row * ld + column];
}

static void plain_gemm(const struct trib_gemm *p)
{
    for (int i = 0; i < p->m; i++) {
        float *c = p->c + (long)i * p->ldc;
        for (int j = 0; j < p->n; j++) // beta 0 must also erase NaN
            c[j] = p->beta == 0 ? 0 : p->beta * c[j];
        if (p->transpose_b) {
            for (int j = 0; j < p->n; j++) {
                const float *b = p->b + (long)j * p->ldb;
                float sum = 0;
                for (int k = 0; k < p->k; k++)
                    sum += element(p->a, p->lda, p->transpose_a, i, k) * b[k];
                c[j] += p->alpha * sum;
            }
            continue;
        }
        for (int k = 0; k < p->k; k++) {
            const float *b = p->b + (long)k * p->ldb;
            const float a = p->alpha * element(p->a, p->lda, p->transpose_a, i, k);
            for (int j = 0; j < p->n; j++)
                c[j] += a * b[j];
        }
    }
}

#ifdef TRIB_WITH_OPENBLAS

#include <cblas.h>
#include <dlfcn.h>

static __typeof__(cblas_sgemm) *openblas_sgemm;

// Debian's OpenBLAS does not know newer CPU families and falls back to its SSE3 kernels
// ("Prescott"), 4.5 to 7 times slower (OpenMathLib/OpenBLAS #4267). What to ask for instead, by the
// CPU's features, never by its model number: a wrong answer would be an illegal instruction.
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

// The library reads its environment in its constructor, so it is loaded by hand after these are
// set; when it chose its slowest kernels on a machine that can do more, it is loaded again.
static void choose_kernels(void)
{
    struct library library;
    (void)setenv("OPENBLAS_NUM_THREADS", "1", 1);
    if (!load_library(&library)) {
        TRIB_WARN("kernels=plain: libopenblas.so.0 cannot be loaded; training will be slow");
        return;
    }
    const char *wanted = better_core_type();
    if (strcmp(library.core_name(), "Prescott") == 0 && wanted && !getenv("OPENBLAS_CORETYPE")) {
        (void)dlclose(library.handle);
        (void)setenv("OPENBLAS_CORETYPE", wanted, 1);
        if (!load_library(&library))
            return;
    }
    is_concurrent = library.parallel() != 0;
    (void)snprintf(kernels_name, sizeof(kernels_name), "openblas %s", library.core_name());
    TRIB_INFO("kernels=openblas core=%s threads=1 concurrent=%s", library.core_name(),
              is_concurrent ? "yes" : "no");
}

#else

static void choose_kernels(void)
{
    TRIB_INFO("kernels=plain threads=1");
}

#endif

void trib_blas_init(void)
{
    (void)pthread_once(&once, choose_kernels);
}

const char *trib_blas_name(void)
{
    trib_blas_init();
    return kernels_name;
}

bool trib_blas_is_concurrent(void)
{
    trib_blas_init();
    return is_concurrent;
}

void trib_gemm(const struct trib_gemm *p)
{
    trib_blas_init();
#ifdef TRIB_WITH_OPENBLAS
    if (openblas_sgemm) {
        if (!is_concurrent)
            (void)pthread_mutex_lock(&turn);
        openblas_sgemm(CblasRowMajor, p->transpose_a ? CblasTrans : CblasNoTrans,
                       p->transpose_b ? CblasTrans : CblasNoTrans, p->m, p->n, p->k, p->alpha, p->a,
                       p->lda, p->b, p->ldb, p->beta, p->c, p->ldc);
        if (!is_concurrent)
            (void)pthread_mutex_unlock(&turn);
        return;
    }
#endif
    plain_gemm(p);
}

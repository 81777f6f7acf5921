// Forward and backward of the layers of the standard network, for processors with AVX2, AVX-512 or AMX.
//
// Tensors are float32 and contiguous, channels last. Where there is AMX, convolutions, dense layers and the inputs
// of GRUs multiply in bfloat16 with float32 sums; everything else, and these elsewhere, computes in float32.
// Rows are split evenly over torch's threads, so a sum over rows depends on their number.

#include <ATen/Parallel.h>
#include <sys/syscall.h>
#include <torch/extension.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <numeric>
#include <optional>
#include <vector>

#include "vectors.h"

using at::Tensor;
typedef std::vector<float> Floats;

static long up(long n, long unit) { return (n + unit - 1) / unit * unit; }
static Mask tail_mask(long n) { return first_lanes(n % 16 ? n % 16 : 16); }
static long share(long n) { return (n + at::get_num_threads() - 1) / at::get_num_threads(); }
static const float* data(const Tensor& t) { return t.data_ptr<float>(); }

// ---------------------------------------------------------------- elementary functions

static inline vec vexp(vec x) {
  x = lower(higher(x, all(-80.f)), all(80.f));
  vec n = nearest(mul(x, all(1.44269504f)));
  vec r = sub_product(n, all(0.693359375f), x);
  r = sub_product(n, all(-2.12194440e-4f), r);
  vec p = all(1.0f / 5040);
  for (float c : {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f})
    p = mul_add(p, r, all(c));
  return times_power_of_2(p, n);
}
static inline vec vsigmoid(vec x) {
  vec one = all(1.f);
  return over(one, add(one, vexp(sub(all(0.f), x))));
}
static inline vec vtanh(vec x) {
  vec two = all(2.f);
  return mul_sub(two, vsigmoid(mul(two, x)), all(1.f));
}

// ---------------------------------------------------------------- float32 products

// C[rows, cols] = bias + A[rows, K] B[K, ldb], cols a number of vectors, the last one masked.
template <int ROWS, int VECS>
static inline void product_tile(const float* A, long lda, const float* B, long ldb, float* C, long ldc, long K,
                                const float* bias, Mask last) {
  vec sum[ROWS][VECS];
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECS; j++) sum[i][j] = bias ? load(bias + 16 * j) : all(0.f);
  for (long k = 0; k < K; k++) {
    vec b[VECS];
    for (int j = 0; j < VECS; j++) b[j] = load(B + k * ldb + 16 * j);
    for (int i = 0; i < ROWS; i++) {
      vec a = all(A[i * lda + k]);
      for (int j = 0; j < VECS; j++) sum[i][j] = mul_add(a, b[j], sum[i][j]);
    }
  }
  for (int i = 0; i < ROWS; i++) {
    for (int j = 0; j + 1 < VECS; j++) store(C + i * ldc + 16 * j, sum[i][j]);
    store(C + i * ldc + 16 * (VECS - 1), sum[i][VECS - 1], last);
  }
}
template <int VECS>
static void product_rows(long M, const float* A, long lda, const float* B, long ldb, float* C, long ldc, long K,
                         const float* bias, Mask last) {
  const int ROWS = VECTORS == 1 ? TALL : VECS == 1 ? 14 : VECS == 2 ? 12 : TALL;
  long i = 0;
  for (; i + ROWS <= M; i += ROWS) product_tile<ROWS, VECS>(A + i * lda, lda, B, ldb, C + i * ldc, ldc, K, bias, last);
  for (; i + 4 <= M; i += 4) product_tile<4, VECS>(A + i * lda, lda, B, ldb, C + i * ldc, ldc, K, bias, last);
  for (; i < M; i++) product_tile<1, VECS>(A + i * lda, lda, B, ldb, C + i * ldc, ldc, K, bias, last);
}
// Rows of B and bias must be readable up to the next multiple of 16.
static void product(long M, long N, long K, const float* A, long lda, const float* B, long ldb, float* C, long ldc,
                    const float* bias = nullptr) {
  long j = 0;
  const long most = 16 * VECTORS;
  for (; N - j > most; j += most)
    product_rows<VECTORS>(M, A, lda, B + j, ldb, C + j, ldc, K, bias ? bias + j : nullptr, first_lanes(16));
  auto rest = N - j > 32   ? product_rows<VECTORS>
              : N - j > 16 ? product_rows<(VECTORS > 1) + 1>
                           : product_rows<1>;
  rest(M, A, lda, B + j, ldb, C + j, ldc, K, bias ? bias + j : nullptr, tail_mask(N - j));
}

// W[rows, cols] += sum over f of A[f, rows] D[f, cols]
template <int ROWS, int VECS>
static inline void outer_tile(const float* A, long lda, const float* D, long ldd, float* W, long ldw, long F,
                              Mask last) {
  vec sum[ROWS][VECS];
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECS; j++) sum[i][j] = load(W + i * ldw + 16 * j);
  for (long f = 0; f < F; f++) {
    vec d[VECS];
    for (int j = 0; j + 1 < VECS; j++) d[j] = load(D + f * ldd + 16 * j);
    d[VECS - 1] = load(D + f * ldd + 16 * (VECS - 1), last);
    for (int i = 0; i < ROWS; i++) {
      vec a = all(A[f * lda + i]);
      for (int j = 0; j < VECS; j++) sum[i][j] = mul_add(a, d[j], sum[i][j]);
    }
  }
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECS; j++) store(W + i * ldw + 16 * j, sum[i][j]);
}
template <int VECS>
static void outer_rows(long M, const float* A, long lda, const float* D, long ldd, float* W, long ldw, long F,
                       Mask last) {
  long i = 0;
  for (; i + TALL <= M; i += TALL) outer_tile<TALL, VECS>(A + i, lda, D, ldd, W + i * ldw, ldw, F, last);
  if (TALL % 4)
    for (; i + 4 <= M; i += 4) outer_tile<4, VECS>(A + i, lda, D, ldd, W + i * ldw, ldw, F, last);
  for (; i < M; i++) outer_tile<1, VECS>(A + i, lda, D, ldd, W + i * ldw, ldw, F, last);
}
// Rows of W must be writable up to the next multiple of 16.
static void outer(long M, long N, long F, const float* A, long lda, const float* D, long ldd, float* W, long ldw) {
  long j = 0;
  const long most = 16 * VECTORS;
  for (; N - j > most; j += most) outer_rows<VECTORS>(M, A, lda, D + j, ldd, W + j, ldw, F, first_lanes(16));
  auto rest = N - j > 32 ? outer_rows<VECTORS> : N - j > 16 ? outer_rows<(VECTORS > 1) + 1> : outer_rows<1>;
  rest(M, A, lda, D + j, ldd, W + j, ldw, F, tail_mask(N - j));
}

// ---------------------------------------------------------------- products of rounded numbers

#ifdef __AMX_BF16__  // in bfloat16

typedef uint16_t Number;
static const long UNIT = 32, ROW_UNIT = 32;  // columns, and rows and depth, of what is multiplied

static bool ready() { return syscall(SYS_arch_prctl, 0x1023, 18) == 0; }  // ARCH_REQ_XCOMP_PERM, tile data

// Tiles of 16 rows of 64 bytes, for as long as a thread multiplies.
struct Tiles {
  Tiles() {
    struct alignas(64) {
      uint8_t palette, start, reserved[14];
      uint16_t bytes[16];
      uint8_t rows[16];
    } config;
    memset(&config, 0, sizeof config);
    config.palette = 1;
    for (int i = 0; i < 8; i++) config.bytes[i] = 64, config.rows[i] = 16;
    _tile_loadconfig(&config);
  }
  ~Tiles() { _tile_release(); }
};
// C[M, N] = A[M, K] B, or += with `add`. M, N and K are multiples of 32; B is packed as [K / 2][N][2].
static void product_packed(long M, long N, long K, const Number* A, long lda, const Number* B, float* C, long ldc, bool add) {
  for (long n = 0; n < N; n += 32)
    for (long m = 0; m < M; m += 32) {
      float* c = C + m * ldc + n;
      if (add) {
        _tile_loadd(0, c, ldc * 4); _tile_loadd(1, c + 16, ldc * 4);
        _tile_loadd(2, c + 16 * ldc, ldc * 4); _tile_loadd(3, c + 16 * ldc + 16, ldc * 4);
      } else {
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
      }
      for (long k = 0; k < K; k += 32) {
        _tile_loadd(4, A + m * lda + k, lda * 2); _tile_loadd(5, A + (m + 16) * lda + k, lda * 2);
        _tile_loadd(6, B + k * N + n * 2, N * 4); _tile_loadd(7, B + k * N + n * 2 + 32, N * 4);
        _tile_dpbf16ps(0, 4, 6); _tile_dpbf16ps(1, 4, 7); _tile_dpbf16ps(2, 5, 6); _tile_dpbf16ps(3, 5, 7);
      }
      _tile_stored(0, c, ldc * 4); _tile_stored(1, c + 16, ldc * 4);
      _tile_stored(2, c + 16 * ldc, ldc * 4); _tile_stored(3, c + 16 * ldc + 16, ldc * 4);
    }
}
static inline Number rounded(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
static inline __m256i rounded16(const float* x) { return (__m256i)_mm512_cvtneps_pbh(load(x)); }
static inline void round_row(const float* from, Number* to, long n) {
  long i = 0;
  for (; i + 16 <= n; i += 16) _mm256_storeu_si256((__m256i*)(to + i), rounded16(from + i));
  for (; i < n; i++) to[i] = rounded(from[i]);
}
// Two rows (the second may be missing: zeros) as pairs.
static inline void round_pair(const float* first, const float* second, Number* to, long n) {
  long i = 0;
  for (; i + 16 <= n; i += 16) {
    __m512i low = _mm512_cvtepu16_epi32(rounded16(first + i)), high = _mm512_setzero_si512();
    if (second) high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded16(second + i)), 16);
    _mm512_storeu_si512(to + 2 * i, _mm512_or_si512(low, high));
  }
  for (; i < n; i++) to[2 * i] = rounded(first[i]), to[2 * i + 1] = second ? rounded(second[i]) : 0;
}
static void pack_pairs(const float* rows, long K, long N, Number* to, long padded) {
  for (long k = 0; k < K; k += 2)
    round_pair(rows + k * N, k + 1 < K ? rows + (k + 1) * N : nullptr, to + k * padded, N);
}
// to[c][f] = from[f][c]
static inline void round_transposed(const float* from, long F, long C, Number* to, long ld) {
  __m512i steps = _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                                     _mm512_set1_epi32(C));
  long f = 0;
  for (; f + 16 <= F; f += 16)
    for (long c = 0; c < C; c++)
      _mm256_storeu_si256((__m256i*)(to + c * ld + f),
                          (__m256i)_mm512_cvtneps_pbh(_mm512_i32gather_ps(steps, from + f * C + c, 4)));
  for (; f < F; f++)
    for (long c = 0; c < C; c++) to[c * ld + f] = rounded(from[f * C + c]);
}

#else  // in float32

typedef float Number;
static const long UNIT = 16, ROW_UNIT = 1;

static bool ready() { return true; }
struct Tiles {
  Tiles() {}  // not trivial, so that it counts as used
};
// C[M, N] = A[M, K] B[K, N]. N is a multiple of 16.
static void product_packed(long M, long N, long K, const float* A, long lda, const float* B, float* C, long ldc, bool) {
  product(M, N, K, A, lda, B, N, C, ldc);
}
static inline void round_row(const float* from, float* to, long n) { memcpy(to, from, n * 4); }
static void pack_pairs(const float* rows, long K, long N, float* to, long padded) {
  for (long k = 0; k < K; k++) memcpy(to + k * padded, rows + k * N, N * 4);
}

#endif

typedef std::vector<Number> Numbers;

static Numbers packed(const Tensor& matrix) {
  long K = matrix.size(0), N = matrix.size(1);
  Numbers to(up(K, UNIT) * up(N, UNIT), 0);
  pack_pairs(data(matrix), K, N, to.data(), up(N, UNIT));
  return to;
}

static void add_to(const Tensor& total, const Floats& part, std::mutex& lock) {
  std::lock_guard<std::mutex> guard(lock);
  float* to = total.data_ptr<float>();
  for (size_t i = 0; i < part.size(); i++) to[i] += part[i];
}
static void sum_rows(const float* rows, long n, long width, float* to) {
  for (long i = 0; i < n; i++)
    for (long o = 0; o < width; o++) to[o] += rows[i * width + o];
}

// ---------------------------------------------------------------- GRU (Keras, reset_after): gates z, r, n

// One group of sequences: `rows` of them, `row` apart, `step` apart in time, in units of a sequence's width.
struct Group {
  long rows, row, step, frames, units;
};
static void gru_forward_group(Group g, const float* inputs, const float* U, const float* bias, float* out, float* gates,
                              float* candidates) {
  long H = g.units;
  Floats recurrent(g.rows * 3 * H), start(g.rows * H, 0.f);
  for (long t = 0; t < g.frames; t++) {
    const float* before = t ? out + (t - 1) * g.step * H : start.data();
    long ld = t ? g.row * H : H;
    product(g.rows, 3 * H, H, before, ld, U, 3 * H, recurrent.data(), 3 * H, bias);
    for (long i = 0; i < g.rows; i++) {
      long at = t * g.step + i * g.row;
      const float *x = inputs + at * 3 * H, *u = recurrent.data() + i * 3 * H, *h = before + i * ld;
      for (long c = 0; c < H; c += 16) {
        vec z = vsigmoid(add(load(x + c), load(u + c)));
        vec r = vsigmoid(add(load(x + H + c), load(u + H + c)));
        vec candidate = load(u + 2 * H + c);
        vec n = vtanh(mul_add(r, candidate, load(x + 2 * H + c)));
        store(out + at * H + c, mul_add(z, sub(load(h + c), n), n));
        store(gates + at * 3 * H + c, z);
        store(gates + at * 3 * H + H + c, r);
        store(gates + at * 3 * H + 2 * H + c, n);
        store(candidates + at * H + c, candidate);
      }
    }
  }
}
static void gru_backward_group(Group g, const float* d_out, const float* out, const float* gates,
                               const float* candidates, const float* U_transposed, float* d_inputs, float* d_U,
                               float* d_bias) {
  long H = g.units, kept = 0, most = g.rows >= 16 ? 1 : 16;  // frames gathered before they go into d_U
  Floats carried(g.rows * H, 0.f), through_U(g.rows * H, 0.f), d(g.rows * 3 * H), zeros(H, 0.f);
  Floats states(most * g.rows * H), slopes(most * g.rows * 3 * H);
  vec one = all(1.f);
  for (long t = g.frames - 1; t >= 0; t--) {
    for (long i = 0; i < g.rows; i++) {
      long at = t * g.step + i * g.row;
      const float* before = t ? out + ((t - 1) * g.step + i * g.row) * H : zeros.data();
      float *to = d_inputs + at * 3 * H, *row = d.data() + i * 3 * H, *carry = carried.data() + i * H;
      for (long c = 0; c < H; c += 16) {
        vec dh = add(load(d_out + at * H + c),
                               add(load(carry + c), load(through_U.data() + i * H + c)));
        vec z = load(gates + at * 3 * H + c), r = load(gates + at * 3 * H + H + c);
        vec n = load(gates + at * 3 * H + 2 * H + c), u = load(candidates + at * H + c);
        vec dz = mul(mul(dh, sub(load(before + c), n)),
                               mul(z, sub(one, z)));
        vec dn = mul(mul(dh, sub(one, z)), sub_product(n, n, one));
        vec dr = mul(mul(dn, u), mul(r, sub(one, r)));
        store(carry + c, mul(dh, z));
        store(to + c, dz), store(to + H + c, dr), store(to + 2 * H + c, dn);
        store(row + c, dz), store(row + H + c, dr);
        store(row + 2 * H + c, mul(dn, r));
      }
    }
    sum_rows(d.data(), g.rows, 3 * H, d_bias);
    if (!t) break;
    product(g.rows, H, 3 * H, d.data(), 3 * H, U_transposed, H, through_U.data(), H);
    for (long i = 0; i < g.rows; i++)
      memcpy(states.data() + (kept * g.rows + i) * H, out + ((t - 1) * g.step + i * g.row) * H, H * 4);
    memcpy(slopes.data() + kept * g.rows * 3 * H, d.data(), g.rows * 3 * H * 4);
    if (++kept == most || t == 1) {
      outer(H, 3 * H, kept * g.rows, states.data(), H, slopes.data(), 3 * H, d_U, 3 * H);
      kept = 0;
    }
  }
}
// Calls f(first sequence, group) in parallel. (batch, frames, bands, ·): the bands of one example are a group; with
// a single band, the examples of one thread are.
template <class F>
static void each_group(const Tensor& out, F f) {
  long B = out.size(0), T = out.size(1), R = out.size(2), H = out.size(3);
  long each = R > 1 ? 1 : share(B);
  at::parallel_for(0, (B + each - 1) / each, 1, [&](long from, long to) {
    for (long k = from; k < to; k++)
      f(k * each * T * R, R > 1 ? Group{R, 1, R, T, H} : Group{std::min(each, B - k * each), T, 1, T, H});
  });
}
// inputs (batch, frames, bands, 3 units), with their bias → output, gates, candidates before the reset gate
static std::vector<Tensor> gru_forward(Tensor inputs, Tensor U, Tensor bias) {
  inputs = inputs.contiguous(), U = U.contiguous(), bias = bias.contiguous();
  auto shape = inputs.sizes().vec();
  long H = shape[3] / 3;
  TORCH_CHECK(H % 16 == 0, "units of a GRU must be a multiple of 16. Received: ", H);
  shape[3] = H;
  auto out = at::empty(shape, inputs.options()), candidates = at::empty_like(out), gates = at::empty_like(inputs);
  each_group(out, [&](long at, Group g) {
    gru_forward_group(g, data(inputs) + at * 3 * H, data(U), data(bias), out.data_ptr<float>() + at * H,
                      gates.data_ptr<float>() + at * 3 * H, candidates.data_ptr<float>() + at * H);
  });
  return {out, gates, candidates};
}
static std::vector<Tensor> gru_backward(Tensor d_out, Tensor out, Tensor gates, Tensor candidates, Tensor U) {
  d_out = d_out.contiguous();
  long H = out.size(3);
  auto U_transposed = U.t().contiguous(), d_inputs = at::empty_like(gates);
  auto d_U = at::zeros({H, 3 * H}, out.options()), d_bias = at::zeros({3 * H}, out.options());
  std::mutex lock;
  each_group(out, [&](long at, Group g) {
    Floats part(H * 3 * H, 0.f), part_bias(3 * H, 0.f);
    gru_backward_group(g, data(d_out) + at * H, data(out) + at * H, data(gates) + at * 3 * H,
                       data(candidates) + at * H, data(U_transposed), d_inputs.data_ptr<float>() + at * 3 * H,
                       part.data(), part_bias.data());
    add_to(d_U, part, lock), add_to(d_bias, part_bias, lock);
  });
  return {d_inputs, d_U, d_bias};
}

// ---------------------------------------------------------------- batch norm, activation, residual

enum Activation { LINEAR, ELU, RELU };
static inline vec activated(vec x, int kind) {
  if (kind == RELU) return higher(x, all(0.f));
  if (kind == LINEAR) return x;
  Mask below = below_zero(x);
  return any(below) ? chosen(below, sub(vexp(x), all(1.f)), x) : x;
}
static inline vec slope(vec x, int kind) {
  vec one = all(1.f);
  if (kind == RELU) return chosen(above_zero(x), one, all(0.f));
  if (kind == LINEAR) return one;
  Mask below = below_zero(x);
  return any(below) ? chosen(below, vexp(x), one) : one;
}
static const int MOST = 16;  // vectors in which channels come round
// Values of each channel, repeated until they fill whole vectors.
struct Repeated {
  Floats values;
  Repeated(const float* of, long channels) : values(std::lcm(channels, 16L)) {
    for (size_t i = 0; i < values.size(); i++) values[i] = of[i % channels];
  }
  vec operator[](int j) const { return load(values.data() + 16 * j); }
};
// Calls f(offset, j, sums) for each vector; `sums` are two that end up in totals of each channel.
template <class F>
static std::vector<std::vector<double>> channel_sums(long n, long channels, F f) {
  long L = std::lcm(channels, 16L);
  int vecs = L / 16;
  TORCH_CHECK(n % L == 0 && vecs <= MOST, "a batch norm of ", channels, " channels does not fit vectors of 16");
  std::vector<std::vector<double>> totals(2, std::vector<double>(channels, 0));
  std::mutex lock;
  at::parallel_for(0, n / L, 1024, [&](long from, long to) {
    std::vector<std::vector<double>> part(2, std::vector<double>(L, 0));
    for (long i = from; i < to;) {
      vec sums[2][MOST];
      for (auto& row : sums) std::fill(row, row + vecs, all(0.f));
      for (long end = std::min(to, i + 512); i < end; i++)
        for (int j = 0; j < vecs; j++) f(i * L + 16 * j, j, sums[0][j], sums[1][j]);
      for (int s = 0; s < 2; s++)
        for (int j = 0; j < vecs; j++) {
          float values[16];
          store(values, sums[s][j]);
          for (int k = 0; k < 16; k++) part[s][16 * j + k] += values[k];
        }
    }
    std::lock_guard<std::mutex> guard(lock);
    for (int s = 0; s < 2; s++)
      for (long k = 0; k < L; k++) totals[s][k % channels] += part[s][k];
  });
  return totals;
}
template <class F>
static void each_vector(long n, long channels, F f) {
  long L = std::lcm(channels, 16L);
  at::parallel_for(0, n / L, 1024, [&](long from, long to) {
    for (long i = from; i < to; i++)
      for (int j = 0; j < L / 16; j++) f(i * L + 16 * j, j);
  });
}
// → activation(norm(x)) + residual, and mean and variance of the batch
static std::vector<Tensor> norm_forward(Tensor x, Tensor gamma, Tensor beta, std::optional<Tensor> residual,
                                        int64_t kind, double epsilon) {
  long C = x.size(-1), n = x.numel();
  const float *from = data(x), *added = residual ? data(*residual) : nullptr;
  auto sums = channel_sums(n, C, [&](long at, int, vec& sum, vec& squares) {
    vec value = load(from + at);
    sum = add(sum, value), squares = mul_add(value, value, squares);
  });
  auto out = at::empty_like(x), mean = at::empty({C}, x.options()), variance = at::empty({C}, x.options());
  Floats scale(C), shift(C);
  for (long c = 0; c < C; c++) {
    double m = sums[0][c] / (n / C), v = std::max(0.0, sums[1][c] / (n / C) - m * m);
    mean.data_ptr<float>()[c] = m, variance.data_ptr<float>()[c] = v;
    scale[c] = data(gamma)[c] / std::sqrt(v + epsilon), shift[c] = data(beta)[c] - m * scale[c];
  }
  Repeated scales(scale.data(), C), shifts(shift.data(), C);
  float* to = out.data_ptr<float>();
  each_vector(n, C, [&](long at, int j) {
    vec y = activated(mul_add(load(from + at), scales[j], shifts[j]), kind);
    store(to + at, added ? add(y, load(added + at)) : y);
  });
  return {out, mean, variance};
}
static std::vector<Tensor> norm_backward(Tensor d_out, Tensor x, Tensor mean, Tensor variance, Tensor gamma, Tensor beta,
                                         int64_t kind, double epsilon) {
  d_out = d_out.contiguous();
  long C = x.size(-1), n = x.numel(), rows = n / C;
  auto d_x = at::empty_like(x), d_gamma = at::empty({C}, x.options()), d_beta = at::empty({C}, x.options());
  const float *from = data(x), *slopes = data(d_out);
  float* to = d_x.data_ptr<float>();
  Floats factor(C), offset(C);  // normalised = factor x + offset
  for (long c = 0; c < C; c++)
    factor[c] = 1 / std::sqrt(data(variance)[c] + epsilon), offset[c] = -data(mean)[c] * factor[c];
  Repeated factors(factor.data(), C), offsets(offset.data(), C), gammas(data(gamma), C), betas(data(beta), C);
  auto sums = channel_sums(n, C, [&](long at, int j, vec& sum, vec& product) {
    vec normalised = mul_add(load(from + at), factors[j], offsets[j]);
    vec d = load(slopes + at);
    if (kind != LINEAR) d = mul(d, slope(mul_add(normalised, gammas[j], betas[j]), kind));
    store(to + at, d);
    sum = add(sum, d), product = mul_add(d, normalised, product);
  });
  Floats by_d(C), by_x(C), constant(C);  // d_x = by_d d + by_x x + constant
  for (long c = 0; c < C; c++) {
    double s = sums[0][c] / rows, p = sums[1][c] / rows;
    d_beta.data_ptr<float>()[c] = sums[0][c], d_gamma.data_ptr<float>()[c] = sums[1][c];
    by_d[c] = data(gamma)[c] * factor[c];
    by_x[c] = -by_d[c] * p * factor[c], constant[c] = -by_d[c] * (s + offset[c] * p);
  }
  Repeated a(by_d.data(), C), b(by_x.data(), C), k(constant.data(), C);
  each_vector(n, C, [&](long at, int j) {
    vec rest = mul_add(load(from + at), b[j], k[j]);
    store(to + at, mul_add(load(to + at), a[j], rest));
  });
  return {d_x, d_gamma, d_beta};
}

// ---------------------------------------------------------------- convolution over frequency

// x (…, bins, channels), `skip` more channels of the same bins; kernel (taps, channels, filters)
struct Sizes {
  long own, more, channels, bins, rows, taps, filters, stride, out, before, padding;
  Sizes(const Tensor& x, const std::optional<Tensor>& skip, const Tensor& kernel, long stride_)
      : own(x.size(-1)), more(skip ? skip->size(-1) : 0), channels(own + more), bins(x.size(-2)),
        rows(x.numel() / bins / own), taps(kernel.size(0)), filters(kernel.size(2)), stride(stride_),
        out((bins + stride - 1) / stride), padding(std::max(0L, (out - 1) * stride + taps - bins)) {
    before = padding / 2;
  }
};
static Tensor conv_forward(Tensor x, std::optional<Tensor> skip, Tensor kernel, Tensor bias, int64_t stride) {
  Sizes s(x, skip, kernel, stride);
  auto shape = x.sizes().vec();
  shape[shape.size() - 1] = s.filters, shape[shape.size() - 2] = s.out;
  auto y = at::empty(shape, x.options());
  bias = bias.contiguous();
  long M = up(s.out, ROW_UNIT), N = up(s.filters, UNIT), K = up(s.taps * s.channels, ROW_UNIT);
  auto weights = packed(kernel.contiguous().reshape({s.taps * s.channels, s.filters}));
  const float *own = data(x), *more = skip ? data(*skip) : nullptr, *offset = data(bias);
  float* all = y.data_ptr<float>();
  at::parallel_for(0, s.rows, share(s.rows), [&](long from, long to) {
    Tiles tiles;
    Numbers padded((M * stride + s.before + s.bins + s.taps) * s.channels + 64, 0);
    Floats result(M * N);
    for (long n = from; n < to; n++) {
      Number* row = padded.data() + s.before * s.channels;
      if (!more) round_row(own + n * s.bins * s.own, row, s.bins * s.own);
      for (long f = 0; more && f < s.bins; f++) {
        round_row(own + (n * s.bins + f) * s.own, row + f * s.channels, s.own);
        round_row(more + (n * s.bins + f) * s.more, row + f * s.channels + s.own, s.more);
      }
      product_packed(M, N, K, padded.data(), stride * s.channels, weights.data(), result.data(), N, false);
      float* out = all + n * s.out * s.filters;
      for (long f = 0; f < s.out; f++)
        for (long o = 0; o < s.filters; o++) out[f * s.filters + o] = result[f * N + o] + offset[o];
    }
  });
  return y;
}
// Slopes of kernel and bias alone, in float32, for the first layer: its input has none and its stride is free.
static std::vector<Tensor> conv_backward_kernel(Tensor d_y, Tensor x, Tensor kernel, int64_t stride) {
  d_y = d_y.contiguous();
  Sizes s(x, {}, kernel, stride);
  long N = up(s.filters, 16);
  auto d_kernel = at::zeros({s.taps * s.channels, N}, x.options()), d_bias = at::zeros({s.filters}, x.options());
  std::mutex lock;
  at::parallel_for(0, s.rows, share(s.rows), [&](long from, long to) {
    Floats padded((s.bins + s.padding) * s.channels, 0.f), part(s.taps * s.channels * N, 0.f), part_bias(s.filters, 0.f);
    for (long n = from; n < to; n++) {
      const float* d = data(d_y) + n * s.out * s.filters;
      memcpy(padded.data() + s.before * s.channels, data(x) + n * s.bins * s.channels, s.bins * s.channels * 4);
      outer(s.taps * s.channels, s.filters, s.out, padded.data(), stride * s.channels, d, s.filters, part.data(), N);
      sum_rows(d, s.out, s.filters, part_bias.data());
    }
    add_to(d_kernel, part, lock), add_to(d_bias, part_bias, lock);
  });
  return {d_kernel.narrow(1, 0, s.filters).reshape({s.taps, s.channels, s.filters}), d_bias};
}
// Adds up slopes of a kernel (taps, C, N), row of bins by row of bins.
#ifdef __AMX_BF16__
struct KernelSlopes {
  const Sizes& s;
  long M, C, N, ld;
  Numbers pairs, turned;
  KernelSlopes(const Sizes& sizes, long M, long C, long N)
      : s(sizes), M(M), C(C), N(N), ld(M + 32), pairs(M * N, 0), turned(C * ld, 0) {}
  void add(const float* own, const float* more, const float* d, float* part) {
    pack_pairs(d, s.bins, s.filters, pairs.data(), N);
    round_transposed(own, s.bins, s.own, turned.data() + s.before, ld);
    if (more) round_transposed(more, s.bins, s.more, turned.data() + s.own * ld + s.before, ld);
    for (long j = 0; j < s.taps; j++)
      product_packed(C, N, M, turned.data() + j, ld, pairs.data(), part + j * C * N, N, true);
  }
};
#else
struct KernelSlopes {
  const Sizes& s;
  long C, N;
  Floats padded;
  KernelSlopes(const Sizes& sizes, long, long C, long N)
      : s(sizes), C(C), N(N), padded((s.bins + s.padding) * s.channels, 0.f) {}
  void add(const float* own, const float* more, const float* d, float* part) {
    for (long f = 0; f < s.bins; f++) {
      float* row = padded.data() + (s.before + f) * s.channels;
      memcpy(row, own + f * s.own, s.own * 4);
      if (more) memcpy(row + s.own, more + f * s.more, s.more * 4);
    }
    for (long j = 0; j < s.taps; j++)
      outer(s.channels, s.filters, s.bins, padded.data() + j * s.channels, s.channels, d, s.filters, part + j * C * N, N);
  }
};
#endif
static std::vector<Tensor> conv_backward(Tensor d_y, Tensor x, std::optional<Tensor> skip, Tensor kernel) {
  d_y = d_y.contiguous();
  Sizes s(x, skip, kernel, 1);
  long N = up(s.filters, UNIT), C = up(s.channels, UNIT);
  long K = up(s.taps * s.filters, ROW_UNIT), M = up(s.bins, ROW_UNIT);
  long after = s.taps - 1 - s.before;
  auto flipped = packed(kernel.flip(0).transpose(1, 2).reshape({s.taps * s.filters, s.channels}).contiguous());
  auto d_x = at::empty_like(x), d_skip = skip ? at::empty_like(*skip) : x;
  auto d_kernel = at::zeros({s.taps, C, N}, x.options()), d_bias = at::zeros({s.filters}, x.options());
  const float *own = data(x), *more = skip ? data(*skip) : nullptr, *slopes = data(d_y);
  float *to_own = d_x.data_ptr<float>(), *to_more = d_skip.data_ptr<float>();
  std::mutex lock;
  at::parallel_for(0, s.rows, share(s.rows), [&](long from, long to) {
    Tiles tiles;
    Numbers padded((M + s.taps) * s.filters + K + 64, 0);
    KernelSlopes kernel_slopes(s, M, C, N);
    Floats result(M * C), part(s.taps * C * N, 0.f), part_bias(s.filters, 0.f);
    for (long n = from; n < to; n++) {
      const float* d = slopes + n * s.bins * s.filters;
      round_row(d, padded.data() + after * s.filters, s.bins * s.filters);
      product_packed(M, C, K, padded.data(), s.filters, flipped.data(), result.data(), C, false);
      for (long f = 0; f < s.bins; f++) {
        memcpy(to_own + (n * s.bins + f) * s.own, result.data() + f * C, s.own * 4);
        if (more)
          memcpy(to_more + (n * s.bins + f) * s.more, result.data() + f * C + s.own, s.more * 4);
      }
      kernel_slopes.add(own + n * s.bins * s.own, more ? more + n * s.bins * s.more : nullptr, d, part.data());
      sum_rows(d, s.bins, s.filters, part_bias.data());
    }
    add_to(d_kernel, part, lock), add_to(d_bias, part_bias, lock);
  });
  return {d_x, d_skip, d_kernel.narrow(1, 0, s.channels).narrow(2, 0, s.filters).contiguous(), d_bias};
}

// ---------------------------------------------------------------- dense layers

#ifdef __AMX_BF16__  // else PyTorch's own are as fast

static const long BLOCK = 96;  // rows that are rounded and multiplied at a time
static Tensor dense_forward(Tensor x, Tensor kernel, Tensor bias) {
  long C = x.size(-1), n = x.numel() / C, O = kernel.size(1), K = up(C, UNIT), N = up(O, UNIT);
  auto shape = x.sizes().vec();
  shape.back() = O;
  auto y = at::empty(shape, x.options());
  bias = bias.contiguous();
  auto weights = packed(kernel.contiguous());
  const float *from_rows = data(x), *offset = data(bias);
  float* all = y.data_ptr<float>();
  long blocks = (n + BLOCK - 1) / BLOCK;
  at::parallel_for(0, blocks, share(blocks), [&](long from, long to) {
    Tiles tiles;
    Numbers rows(BLOCK * K, 0);
    Floats result(BLOCK * N);
    for (long b = from; b < to; b++) {
      long first = b * BLOCK, count = std::min(BLOCK, n - first);
      for (long i = 0; i < count; i++) round_row(from_rows + (first + i) * C, rows.data() + i * K, C);
      product_packed(BLOCK, N, K, rows.data(), K, weights.data(), result.data(), N, false);
      for (long i = 0; i < count; i++)
        for (long o = 0; o < O; o++) all[(first + i) * O + o] = result[i * N + o] + offset[o];
    }
  });
  return y;
}
static std::vector<Tensor> dense_backward(Tensor d_y, Tensor x, Tensor kernel) {
  d_y = d_y.contiguous();
  long C = x.size(-1), n = x.numel() / C, O = kernel.size(1), K = up(C, UNIT), N = up(O, UNIT);
  auto d_x = at::empty_like(x), d_kernel = at::zeros({K, N}, x.options()), d_bias = at::zeros({O}, x.options());
  auto turned_weights = packed(kernel.t().contiguous());
  const float *from_rows = data(x), *slopes = data(d_y);
  float* all = d_x.data_ptr<float>();
  std::mutex lock;
  long blocks = (n + BLOCK - 1) / BLOCK;
  at::parallel_for(0, blocks, share(blocks), [&](long from, long to) {
    Tiles tiles;
    Numbers rows(BLOCK * N, 0), pairs(BLOCK * N, 0), turned(K * BLOCK, 0);
    Floats result(BLOCK * K), part(K * N, 0.f), part_bias(O, 0.f);
    for (long b = from; b < to; b++) {
      long first = b * BLOCK, count = std::min(BLOCK, n - first);
      const float* d = slopes + first * O;
      if (count < BLOCK) std::fill(pairs.begin(), pairs.end(), 0);
      pack_pairs(d, count, O, pairs.data(), N);
      round_transposed(from_rows + first * C, count, C, turned.data(), BLOCK);
      product_packed(K, N, BLOCK, turned.data(), BLOCK, pairs.data(), part.data(), N, true);
      sum_rows(d, count, O, part_bias.data());
      for (long i = 0; i < count; i++) round_row(d + i * O, rows.data() + i * N, O);
      product_packed(BLOCK, K, N, rows.data(), N, turned_weights.data(), result.data(), K, false);
      for (long i = 0; i < count; i++)
        memcpy(all + (first + i) * C, result.data() + i * K, C * 4);
    }
    add_to(d_kernel, part, lock), add_to(d_bias, part_bias, lock);
  });
  return {d_x, d_kernel.narrow(0, 0, C).narrow(1, 0, O).contiguous(), d_bias};
}

#endif

// ---------------------------------------------------------------- projection of the frequency axis

// (…, bins, channels) → (…, bands, channels): kernel (bands, bins), bias (bands, 1)
static Tensor bands_forward(Tensor x, Tensor kernel, Tensor bias) {
  long C = x.size(-1), F = x.size(-2), n = x.numel() / F / C, P = kernel.size(0), padded = up(C, 16);
  auto shape = x.sizes().vec();
  shape[shape.size() - 2] = P;
  auto y = at::empty(shape, x.options());
  kernel = kernel.contiguous(), bias = bias.contiguous();
  const float *all_x = data(x), *weights = data(kernel), *offset = data(bias);
  float* all_y = y.data_ptr<float>();
  at::parallel_for(0, n, share(n), [&](long from, long to) {
    Floats rows(F * padded, 0.f);
    for (long i = from; i < to; i++) {
      for (long f = 0; f < F; f++) memcpy(rows.data() + f * padded, all_x + (i * F + f) * C, C * 4);
      float* out = all_y + i * P * C;
      product(P, C, F, weights, F, rows.data(), padded, out, C);
      for (long p = 0; p < P; p++)
        for (long c = 0; c < C; c++) out[p * C + c] += offset[p];
    }
  });
  return y;
}
static std::vector<Tensor> bands_backward(Tensor d_y, Tensor x, Tensor kernel) {
  d_y = d_y.contiguous();
  long C = x.size(-1), F = x.size(-2), n = x.numel() / F / C, P = kernel.size(0);
  long by_channel = up(C, 16), by_bin = up(F, 16), by_band = up(P, 16);
  auto transposed = kernel.t().contiguous(), d_x = at::empty_like(x);
  auto d_kernel = at::zeros({P, by_bin}, x.options()), d_bias = at::zeros({P, 1}, x.options());
  const float *all_x = data(x), *slopes = data(d_y), *weights = data(transposed);
  float* all_d = d_x.data_ptr<float>();
  std::mutex lock;
  at::parallel_for(0, n, share(n), [&](long from, long to) {
    Floats rows(P * by_channel, 0.f), turned_x(C * by_bin, 0.f), turned_d(C * by_band, 0.f);
    Floats part(P * by_bin, 0.f), part_bias(P, 0.f);
    for (long i = from; i < to; i++) {
      const float *d = slopes + i * P * C, *row = all_x + i * F * C;
      for (long p = 0; p < P; p++)
        for (long c = 0; c < C; c++) {
          float value = d[p * C + c];
          rows[p * by_channel + c] = value, turned_d[c * by_band + p] = value, part_bias[p] += value;
        }
      for (long f = 0; f < F; f++)
        for (long c = 0; c < C; c++) turned_x[c * by_bin + f] = row[f * C + c];
      product(F, C, P, weights, P, rows.data(), by_channel, all_d + i * F * C, C);
      outer(P, F, C, turned_d.data(), by_band, turned_x.data(), by_bin, part.data(), by_bin);
    }
    add_to(d_kernel, part, lock), add_to(d_bias, part_bias, lock);
  });
  return {d_x, d_kernel.narrow(1, 0, F).contiguous(), d_bias};
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("ready", &ready);
  module.def("gru_forward", &gru_forward), module.def("gru_backward", &gru_backward);
  module.def("norm_forward", &norm_forward), module.def("norm_backward", &norm_backward);
  module.def("conv_forward", &conv_forward), module.def("conv_backward", &conv_backward);
  module.def("conv_backward_kernel", &conv_backward_kernel);
#ifdef __AMX_BF16__
  module.def("dense_forward", &dense_forward), module.def("dense_backward", &dense_backward);
#endif
  module.def("bands_forward", &bands_forward), module.def("bands_backward", &bands_backward);
}

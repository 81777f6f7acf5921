// Sixteen float32 at once: one register of AVX-512, two of AVX2.

#include <immintrin.h>

#ifdef __AVX512F__

typedef __m512 vec;
typedef __mmask16 Mask;
static const int VECTORS = 3, TALL = 8;  // columns and rows of a product's tile: what 32 registers hold

static inline Mask first_lanes(long n) { return (Mask)((1u << n) - 1); }
static inline vec load(const float* from) { return _mm512_loadu_ps(from); }
static inline vec load(const float* from, Mask lanes) { return _mm512_maskz_loadu_ps(lanes, from); }
static inline void store(float* to, vec x) { _mm512_storeu_ps(to, x); }
static inline void store(float* to, vec x, Mask lanes) { _mm512_mask_storeu_ps(to, lanes, x); }
static inline vec all(float x) { return _mm512_set1_ps(x); }
static inline vec add(vec x, vec y) { return _mm512_add_ps(x, y); }
static inline vec sub(vec x, vec y) { return _mm512_sub_ps(x, y); }
static inline vec mul(vec x, vec y) { return _mm512_mul_ps(x, y); }
static inline vec over(vec x, vec y) { return _mm512_div_ps(x, y); }
static inline vec lower(vec x, vec y) { return _mm512_min_ps(x, y); }
static inline vec higher(vec x, vec y) { return _mm512_max_ps(x, y); }
static inline vec mul_add(vec x, vec y, vec z) { return _mm512_fmadd_ps(x, y, z); }        // x y + z
static inline vec mul_sub(vec x, vec y, vec z) { return _mm512_fmsub_ps(x, y, z); }        // x y - z
static inline vec sub_product(vec x, vec y, vec z) { return _mm512_fnmadd_ps(x, y, z); }   // z - x y
static inline vec nearest(vec x) { return _mm512_roundscale_ps(x, 0); }
static inline vec times_power_of_2(vec x, vec n) { return _mm512_scalef_ps(x, n); }
static inline Mask above_zero(vec x) { return _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GT_OQ); }
static inline Mask below_zero(vec x) { return _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ); }
static inline bool any(Mask lanes) { return lanes; }
static inline vec chosen(Mask lanes, vec yes, vec no) { return _mm512_mask_mov_ps(no, lanes, yes); }

#else

struct vec {
  __m256 a, b;
};
struct Mask {
  __m256 a, b;
};
static const int VECTORS = 1, TALL = 6;  // what 16 registers hold

static inline Mask first_lanes(long n) {
  __m256i lanes = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
  auto half = [&](int most) { return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(most), lanes)); };
  return {half(n), half(n - 8)};
}
static inline vec load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
static inline vec load(const float* from, Mask lanes) {
  return {_mm256_maskload_ps(from, _mm256_castps_si256(lanes.a)),
          _mm256_maskload_ps(from + 8, _mm256_castps_si256(lanes.b))};
}
static inline void store(float* to, vec x) { _mm256_storeu_ps(to, x.a), _mm256_storeu_ps(to + 8, x.b); }
static inline void store(float* to, vec x, Mask lanes) {
  _mm256_maskstore_ps(to, _mm256_castps_si256(lanes.a), x.a);
  _mm256_maskstore_ps(to + 8, _mm256_castps_si256(lanes.b), x.b);
}
static inline vec all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline vec add(vec x, vec y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
static inline vec sub(vec x, vec y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
static inline vec mul(vec x, vec y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
static inline vec over(vec x, vec y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
static inline vec lower(vec x, vec y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
static inline vec higher(vec x, vec y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
static inline vec mul_add(vec x, vec y, vec z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
static inline vec mul_sub(vec x, vec y, vec z) {
  return {_mm256_fmsub_ps(x.a, y.a, z.a), _mm256_fmsub_ps(x.b, y.b, z.b)};
}
static inline vec sub_product(vec x, vec y, vec z) {
  return {_mm256_fnmadd_ps(x.a, y.a, z.a), _mm256_fnmadd_ps(x.b, y.b, z.b)};
}
static inline vec nearest(vec x) {
  const int how = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.a, how), _mm256_round_ps(x.b, how)};
}
static inline __m256 times_power_of_2(__m256 x, __m256 n) {
  __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_mul_ps(x, _mm256_castsi256_ps(exponent));
}
static inline vec times_power_of_2(vec x, vec n) { return {times_power_of_2(x.a, n.a), times_power_of_2(x.b, n.b)}; }
static inline Mask above_zero(vec x) {
  __m256 zero = _mm256_setzero_ps();
  return {_mm256_cmp_ps(x.a, zero, _CMP_GT_OQ), _mm256_cmp_ps(x.b, zero, _CMP_GT_OQ)};
}
static inline Mask below_zero(vec x) {
  __m256 zero = _mm256_setzero_ps();
  return {_mm256_cmp_ps(x.a, zero, _CMP_LT_OQ), _mm256_cmp_ps(x.b, zero, _CMP_LT_OQ)};
}
static inline bool any(Mask lanes) { return _mm256_movemask_ps(_mm256_or_ps(lanes.a, lanes.b)); }
static inline vec chosen(Mask lanes, vec yes, vec no) {
  return {_mm256_blendv_ps(no.a, yes.a, lanes.a), _mm256_blendv_ps(no.b, yes.b, lanes.b)};
}

#endif

#include "serving/engines/boosted.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace mr::serving {

namespace {

constexpr std::size_t kRowLanes = 32;             // rows evaluated together
constexpr std::size_t kOperands = 256;            // nodes of a tree that is evaluated whole
constexpr double kTiny = 1.0000000180025095e-35;  // 1e-35 as float32
constexpr std::size_t kWalked = 8;                // trees, or rows, walked at once

// `half` where the threshold lies before the value, else 0. The compiler is kept from making a branch of it: which way
// a value goes is anybody's guess, and one wrong guess costs more than the whole search.
inline std::uint32_t passed(bool before, std::uint32_t half) {
  std::uint32_t bit = before ? 1 : 0;
  asm("" : "+r"(bit));
  return half & (0U - bit);
}

// One cache line of 16-bit ranks. Compilers split it into what the processor has.
using Lane16 [[gnu::vector_size(64)]] = std::int16_t;

// The body of the kernel, compiled for several instruction sets below. `results`: 256 constants, then one a step.
template <class Step>
[[gnu::always_inline]] inline void evaluate_body(const Step* steps, std::size_t count, const std::int16_t* codes,
                                                 Lane16* results) {
  Lane16* out = results + kOperands;
  for (const Step* s = steps; s != steps + count; ++s, ++out) {
    Lane16 rank;
    std::memcpy(&rank, codes + std::size_t{s->slot} * kRowLanes, sizeof rank);
    *out = rank > s->code ? results[s->right] : results[s->left];
  }
}

template <class Step>
[[gnu::always_inline]] inline void oblivious_body(const Step* levels, std::size_t count, const std::int16_t* codes,
                                                  Lane16* result) {
  Lane16 index{};
  for (std::size_t k = 0; k < count; ++k) {
    Lane16 rank;
    std::memcpy(&rank, codes + std::size_t{levels[k].slot} * kRowLanes, sizeof rank);
    index |= (rank > levels[k].code) & static_cast<std::int16_t>(std::uint16_t{1} << k);
  }
  *result = index;
}

#if defined(__x86_64__)
template <class Step>
[[gnu::target("avx512f,avx512bw")]] void evaluate_avx512(const Step* s, std::size_t n, const std::int16_t* c,
                                                         Lane16* r) {
  evaluate_body(s, n, c, r);
}
template <class Step>
[[gnu::target("avx2")]] void evaluate_avx2(const Step* s, std::size_t n, const std::int16_t* c, Lane16* r) {
  evaluate_body(s, n, c, r);
}
template <class Step>
[[gnu::target("avx2")]] void oblivious_avx2(const Step* s, std::size_t n, const std::int16_t* c, Lane16* r) {
  oblivious_body(s, n, c, r);
}
#endif
template <class Step>
void evaluate_plain(const Step* s, std::size_t n, const std::int16_t* c, Lane16* r) {
  evaluate_body(s, n, c, r);
}
template <class Step>
void oblivious_plain(const Step* s, std::size_t n, const std::int16_t* c, Lane16* r) {
  oblivious_body(s, n, c, r);
}

template <class Step>
using Evaluate = void (*)(const Step*, std::size_t, const std::int16_t*, Lane16*);

template <class Step>
Evaluate<Step> evaluate_by(KernelLevel most) {
#if defined(__x86_64__)
  static const bool has_avx512 = __builtin_cpu_supports("avx512bw") != 0;
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  if (most >= KernelLevel::avx512 && has_avx512) return evaluate_avx512<Step>;
  if (most >= KernelLevel::avx2 && has_avx2) return evaluate_avx2<Step>;
#endif
  return evaluate_plain<Step>;
}
template <class Step>
Evaluate<Step> oblivious_by(KernelLevel most) {
#if defined(__x86_64__)
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  if (most >= KernelLevel::avx2 && has_avx2) return oblivious_avx2<Step>;
#endif
  return oblivious_plain<Step>;
}

}  // namespace

template <>
const std::vector<float>& Ensemble::values<float>() const {
  return floats_;
}
template <>
const std::vector<double>& Ensemble::values<double>() const {
  return doubles_;
}

double Ensemble::prepared(double v) const {
  if (round_) return static_cast<double>(static_cast<float>(v));
  return tiny_is_zero_ && std::fabs(v) <= kTiny ? 0.0 : v;
}

// How many thresholds the value lies beyond. No branch depends on the value but for missing ones.
std::int16_t Ensemble::rank(const Slot& s, double v) const {
  if (std::isnan(v) || (s.zero_is_missing && std::fabs(v) <= kTiny)) return s.missing_code;
  const double* t = thresholds_.data() + s.begin;
  std::uint32_t n = s.count;
  if (equal_left_) {
    while (n > 1) {
      std::uint32_t half = n / 2;
      t += passed(t[half - 1] < v, half);
      n -= half;
    }
    t += *t < v ? 1 : 0;
  } else {
    while (n > 1) {
      std::uint32_t half = n / 2;
      t += passed(t[half - 1] <= v, half);
      n -= half;
    }
    t += *t <= v ? 1 : 0;
  }
  return static_cast<std::int16_t>(t - (thresholds_.data() + s.begin));
}

bool Ensemble::goes_right(const CategorySet& s, double v) const {
  if (std::isnan(v)) return !s.missing_left;
  bool inside = false;
  if (s.count > 0 && v > (s.negative_inside ? -1.0 : -std::numeric_limits<double>::denorm_min()) &&
      v < static_cast<double>(s.count) * 32) {
    auto c = static_cast<std::size_t>(v < 0 ? 0 : v);
    inside = ((words_[s.begin + c / 32] >> (c % 32)) & 1U) != 0;
  }
  return inside != s.inside_left;
}

// Ranks of `count` rows (at most 32) by slot, then the ways of the sets: codes[slot * 32 + row].
void Ensemble::encode(const double* rows, std::size_t count, std::int16_t* codes) const {
  double column[kRowLanes] = {};
  std::uint32_t gathered = UINT32_MAX;
  bool special = false;
  auto gather = [&](std::uint32_t feature) {
    if (feature == gathered) return;
    gathered = feature;
    special = false;
    for (std::size_t r = 0; r < kRowLanes; ++r) {
      column[r] = prepared(rows[std::min(r, count - 1) * features_ + feature]);
      special |= std::isnan(column[r]);
    }
  };
  for (const auto& s : slots_) {
    gather(s.feature);
    std::int16_t* out = codes;
    codes += kRowLanes;
    if (special || s.zero_is_missing) {
      for (std::size_t r = 0; r < kRowLanes; ++r) out[r] = rank(s, column[r]);
      continue;
    }
    // All rows take one step of the search together: their loads do not wait for each other.
    const double* t = thresholds_.data() + s.begin;
    std::uint32_t at[kRowLanes] = {};
    std::uint32_t n = s.count;
    if (equal_left_) {
      while (n > 1) {
        std::uint32_t half = n / 2;
        for (std::size_t r = 0; r < kRowLanes; ++r) at[r] += passed(t[at[r] + half - 1] < column[r], half);
        n -= half;
      }
      for (std::size_t r = 0; r < kRowLanes; ++r)
        out[r] = static_cast<std::int16_t>(at[r] + passed(t[at[r]] < column[r], 1));
    } else {
      while (n > 1) {
        std::uint32_t half = n / 2;
        for (std::size_t r = 0; r < kRowLanes; ++r) at[r] += passed(t[at[r] + half - 1] <= column[r], half);
        n -= half;
      }
      for (std::size_t r = 0; r < kRowLanes; ++r)
        out[r] = static_cast<std::int16_t>(at[r] + passed(t[at[r]] <= column[r], 1));
    }
  }
  for (const auto& s : sets_) {
    gather(s.feature);
    for (std::size_t r = 0; r < kRowLanes; ++r) codes[r] = goes_right(s, column[r]) ? 1 : 0;
    codes += kRowLanes;
  }
}

// The leaf of each of 32 rows in a tree that is too large to be evaluated whole.
void Ensemble::walk_lanes(const Tree& tree, const std::int16_t* codes, std::uint32_t* at) const {
  const Node* nodes = nodes_.data();
  const auto first_set = slots_.size();
  for (std::size_t r0 = 0; r0 < kRowLanes; r0 += kWalked) {
    std::uint32_t n[kWalked];
    for (auto& i : n) i = tree.base;
    bool moved = true;
    while (moved) {
      moved = false;
      for (std::size_t j = 0; j < kWalked; ++j) {
        const Node& node = nodes[n[j]];
        std::uint32_t next = 0;
        if ((node.slot & 0x8000U) == 0) {
          next = node.child + (codes[node.slot * kRowLanes + r0 + j] > node.code ? 1 : 0);
        } else {
          auto set = (std::size_t{node.slot & 0x7fffU} << 16) | static_cast<std::uint16_t>(node.code);
          next = node.child + static_cast<std::uint32_t>(codes[(first_set + set) * kRowLanes + r0 + j]);
        }
        moved |= next != n[j];
        n[j] = next;
      }
    }
    std::copy(n, n + kWalked, at + r0);
  }
}

// The leaves of one row in all trees that are walked, by the trees' numbers.
template <class T, bool sets>
void Ensemble::walk_trees(const double* row, const std::int16_t* codes, std::uint32_t* at) const {
  const Node* nodes = nodes_.data();
  for (std::size_t first = 0; first < by_depth_.size(); first += kWalked) {
    auto count = std::min(kWalked, by_depth_.size() - first);
    std::uint32_t n[kWalked];
    for (std::size_t j = 0; j < kWalked; ++j) n[j] = trees_[by_depth_[first + std::min(j, count - 1)]].base;
    auto depth = trees_[by_depth_[first + count - 1]].depth;
    for (std::uint32_t d = 0; d < depth; ++d) {
      std::uint32_t moved = 0;
      for (std::size_t j = 0; j < kWalked; ++j) {
        const Node& node = nodes[n[j]];
        std::uint32_t next = 0;
        if (!sets || (node.slot & 0x8000U) == 0) {
          next = node.child + (codes[node.slot] > node.code ? 1 : 0);
        } else {
          auto set = (std::size_t{node.slot & 0x7fffU} << 16) | static_cast<std::uint16_t>(node.code);
          next = node.child + (goes_right(sets_[set], prepared(row[sets_[set].feature])) ? 1 : 0);
        }
        moved |= next ^ n[j];
        n[j] = next;
      }
      if (moved == 0) break;
    }
    for (std::size_t j = 0; j < count; ++j) at[by_depth_[first + j]] = n[j];
  }
}

template <class T>
void Ensemble::add(const Tree& tree, std::size_t node, const double* row, T* out) const {
  const auto& values = this->values<T>();
  if (!linear_of_.empty() && linear_of_[node] >= 0) {
    const auto& l = linear_[static_cast<std::size_t>(linear_of_[node])];
    double v = l.constant;
    bool whole = true;
    for (std::size_t i = 0; i < l.features.size(); ++i) {
      double x = prepared(row[l.features[i]]);
      if (std::isnan(x)) {
        whole = false;
        break;
      }
      v += l.coefficients[i] * x;
    }
    out[tree.group] += whole ? static_cast<T>(v) : values[node];
    return;
  }
  if (width_ == 1) {
    out[tree.group] += values[node];
    return;
  }
  for (std::size_t g = 0; g < width_; ++g) out[g] += values[node * width_ + g];
}

template <class T>
void Ensemble::one_row(const double* row, std::int16_t* codes, std::uint32_t* at, T* out) const {
  for (std::size_t i = 0; i < slots_.size(); ++i) codes[i] = rank(slots_[i], prepared(row[slots_[i].feature]));
  if (sets_.empty())
    walk_trees<T, false>(row, codes, at);
  else
    walk_trees<T, true>(row, codes, at);
  const bool simple = width_ == 1 && linear_of_.empty();
  const T* values = this->values<T>().data();
  for (std::size_t i = 0; i < trees_.size(); ++i) {
    const auto& t = trees_[i];
    std::size_t node = 0;
    if (t.form != Form::oblivious) {
      node = at[i];
    } else {
      const Step* levels = steps_.data() + t.steps;
      for (std::uint32_t k = 0; k < t.count; ++k) {
        const auto& l = levels[k];
        bool right = l.slot < slots_.size() ? codes[l.slot] > l.code
                                            : goes_right(sets_[l.slot - slots_.size()],
                                                         prepared(row[sets_[l.slot - slots_.size()].feature]));
        node |= (right ? std::size_t{1} : 0) << k;
      }
      node += t.base;
    }
    if (simple)
      out[t.group] += values[node];
    else
      add(t, node, row, out);
  }
}

template <class T>
void Ensemble::sum_as(const double* rows, std::size_t count, double* out, KernelLevel most) const {
  const auto width = slots_.size() + sets_.size();
  std::size_t done = 0;
  std::vector<T> sums(groups_ * (lanes_ && count >= kWalked ? std::min<std::size_t>(count, 8 * kRowLanes) : 1));
  auto reset = [&](std::size_t n) {
    for (std::size_t r = 0; r < n; ++r)
      for (std::size_t g = 0; g < groups_; ++g)
        sums[r * groups_ + g] = start_.empty() ? T{0} : static_cast<T>(start_[g]);
  };
  if (lanes_ && count >= kWalked) {
    const auto evaluate = evaluate_by<Step>(most);
    const auto evaluate_oblivious = oblivious_by<Step>(most);
    // As many rows as keep the ranks within the first cache: a tree is then read once for all of them.
    const auto blocks = std::clamp<std::size_t>(24'576 / (width * kRowLanes * 2 + 1), 1, 8);
    std::vector<Lane16> ranks(width * blocks);
    std::vector<Lane16> results(2 * kOperands);
    for (std::size_t i = 0; i < kOperands; ++i) results[i] = Lane16{} + static_cast<std::int16_t>(i);
    const bool simple = width_ == 1 && linear_of_.empty();
    const T* values = this->values<T>().data();
    while (done < count) {
      const auto n = std::min(count - done, blocks * kRowLanes);
      const double* first = rows + done * features_;
      auto* codes = reinterpret_cast<std::int16_t*>(ranks.data());
      for (std::size_t b = 0; b * kRowLanes < n; ++b)
        encode(first + b * kRowLanes * features_, std::min(kRowLanes, n - b * kRowLanes),
               codes + b * width * kRowLanes);
      reset(n);
      for (const auto& t : trees_) {
        for (std::size_t b = 0; b * kRowLanes < n; ++b) {
          const auto in_block = std::min(kRowLanes, n - b * kRowLanes);
          const std::int16_t* block = codes + b * width * kRowLanes;
          T* to = sums.data() + b * kRowLanes * groups_;
          std::uint32_t at[kRowLanes];
          if (t.form == Form::walk) {
            walk_lanes(t, block, at);
          } else {
            std::uint16_t local[kRowLanes];
            if (t.form == Form::whole) {
              evaluate(steps_.data() + t.steps, t.count, block, results.data());
              std::memcpy(local, &results[t.count == 0 ? 0 : kOperands + t.count - 1], sizeof local);
            } else {
              Lane16 index;
              evaluate_oblivious(steps_.data() + t.steps, t.count, block, &index);
              std::memcpy(local, &index, sizeof local);
            }
            for (std::size_t r = 0; r < kRowLanes; ++r) at[r] = t.base + local[r];
          }
          if (simple)
            for (std::size_t r = 0; r < in_block; ++r) to[r * groups_ + t.group] += values[at[r]];
          else
            for (std::size_t r = 0; r < in_block; ++r)
              add(t, at[r], first + (b * kRowLanes + r) * features_, to + r * groups_);
        }
      }
      for (std::size_t i = 0; i < n * groups_; ++i) out[done * groups_ + i] = static_cast<double>(sums[i]);
      done += n;
    }
    return;
  }
  std::vector<std::int16_t> codes(slots_.size() + 1);
  std::vector<std::uint32_t> at(trees_.size());
  for (; done < count; ++done) {
    reset(1);
    one_row(rows + done * features_, codes.data(), at.data(), sums.data());
    for (std::size_t g = 0; g < groups_; ++g) out[done * groups_ + g] = static_cast<double>(sums[g]);
  }
}

void Ensemble::sum(const double* rows, std::size_t count, double* out, KernelLevel most) const {
  if (float_sums_)
    sum_as<float>(rows, count, out, most);
  else
    sum_as<double>(rows, count, out, most);
}

std::size_t Ensemble::bytes() const {
  auto of = [](const auto& v) { return v.capacity() * sizeof(v[0]); };
  return of(slots_) + of(thresholds_) + of(sets_) + of(words_) + of(nodes_) + of(steps_) + of(trees_) + of(by_depth_) +
         of(floats_) + of(doubles_) + of(linear_of_);
}

}  // namespace mr::serving

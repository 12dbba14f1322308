#include "serving/engines/forest.h"

#include <bit>
#include <cmath>
#include <limits>

namespace mr::serving {

namespace {

constexpr std::size_t kLanes = 8;
constexpr std::int32_t kMissingKey = INT32_MAX;
constexpr std::int64_t kWideMissingKey = INT64_MAX;
// Below the key of the least value there is room for 23 bits; 32 of the wide form's are used.
constexpr std::uint32_t kLeafIndex = 0x007FFFFE;
constexpr std::uint32_t kMissingLeft = 1U << 31;  // in WideNode::feature
constexpr std::uint32_t kSet = 1U << 30;
constexpr std::uint32_t kFeature = kSet - 1;
constexpr std::size_t kBlockBytes = 8192;  // of values, beside a tree in the first cache
constexpr std::size_t kMaxBlock = 256;
constexpr std::size_t kMaxTreeNodes = std::size_t{1} << 30;

std::unexpected<Error> damaged_tree(std::string what) {
  return fail(Code::invalid_argument, "a tree " + std::move(what));
}

// The greatest float that is not above t: x <= t holds for the same floats x.
float float_below(double t) {
  constexpr double top = std::numeric_limits<float>::max();
  if (t >= top) return std::isinf(t) ? INFINITY : std::numeric_limits<float>::max();
  if (t < -top) return -INFINITY;
  auto f = static_cast<float>(t);
  return static_cast<double>(f) > t ? std::nextafter(f, -INFINITY) : f;
}

// Integers in the order of the numbers: 0 and -0 are one, NaN is above all.
std::int32_t key_of(float v) {
  if (v != v) return kMissingKey;
  auto bits = std::bit_cast<std::int32_t>(v + 0.0F);
  return bits ^ (bits >> 31 & INT32_MAX);
}
std::int64_t key_of(double v) {
  if (v != v) return kWideMissingKey;
  auto bits = std::bit_cast<std::int64_t>(v + 0.0);
  return bits ^ (bits >> 63 & INT64_MAX);
}
double value_of(std::int64_t key) { return std::bit_cast<double>(key ^ (key >> 63 & INT64_MAX)); }

bool in_set(const std::array<std::uint32_t, 8>& words, std::uint8_t i) { return (words[i / 32] >> (i % 32) & 1) != 0; }

// A category as the original converts it to a byte.
std::uint8_t category(double v) {
  auto i = v < 2147483648.0 ? static_cast<std::int32_t>(v) : INT32_MIN;
  return static_cast<std::uint8_t>(i);
}

// Keeps the compiler from making a branch of what is computed with this bit: a tree's branches are never predicted.
std::uint32_t plain_bit(bool b) {
  auto bit = static_cast<std::uint32_t>(b);
  asm("" : "+r"(bit));
  return bit;
}

// What a leaf has for a key: its index, below the keys of all values.
std::int32_t leaf_key(std::uint32_t index) { return static_cast<std::int32_t>(0x80000000U | index); }
std::int64_t wide_index(std::uint32_t index) { return INT64_MIN | static_cast<std::int64_t>(index); }

std::uint64_t hash_of(std::span<const double> values) {
  std::uint64_t h = 0x9E3779B97F4A7C15ULL;
  for (double v : values) {
    h ^= std::bit_cast<std::uint64_t>(v);
    h *= 0xFF51AFD7ED558CCDULL;
    h ^= h >> 32;
  }
  return h;
}

}  // namespace

// Layouts: how a node says where to go. A leaf's key is below all values', so they all go to the right of its child,
// which is the node before it: a leaf leads to itself.
template <int feature_bits, bool missing>
struct Forest::Packed {
  using X = float;
  using Key = std::int32_t;
  const Node* nodes;
  explicit Packed(const Forest& f) : nodes(f.nodes_.data()) {}
  std::uint32_t next(std::size_t base, std::uint32_t at, const Key* row, std::size_t stride) const {
    const Node n = nodes[base + at];
    const Key x = row[(n.link & ((1U << feature_bits) - 1)) * stride];
    auto right = plain_bit(x > n.key);
    if constexpr (missing) right &= ~(plain_bit(x == kMissingKey) & n.link >> feature_bits);
    return (n.link >> (feature_bits + 1)) + right;
  }
  std::size_t leaf(std::size_t base, std::uint32_t at) const {
    return static_cast<std::uint32_t>(nodes[base + at].key) & INT32_MAX;
  }
};

template <bool sets, bool missing>
struct Forest::Wide {
  using X = double;
  using Key = std::int64_t;
  const WideNode* nodes;
  const ForestSet* all_sets;
  explicit Wide(const Forest& f) : nodes(f.wide_.data()), all_sets(f.sets_.data()) {}
  std::uint32_t next(std::size_t base, std::uint32_t at, const Key* row, std::size_t stride) const {
    const WideNode& n = nodes[base + at];
    const Key x = row[(n.feature & kFeature) * stride];
    auto right = plain_bit(x > n.key);
    if constexpr (missing) right &= ~(plain_bit(x == kWideMissingKey) & n.feature >> 31);
    if constexpr (sets)
      if ((n.feature & kSet) != 0) right = outside(all_sets[static_cast<std::uint32_t>(n.key)], x, n.feature);
    return n.child + right;
  }
  static std::uint32_t outside(const ForestSet& set, Key x, std::uint32_t flags) {
    if (x >= 0 && x != kWideMissingKey) {
      auto c = category(value_of(x));
      if (in_set(set.left, c)) return 0;
      if (in_set(set.known, c)) return 1;
    }
    return (flags & kMissingLeft) != 0 ? 0 : 1;
  }
  std::size_t leaf(std::size_t base, std::uint32_t at) const {
    return static_cast<std::uint32_t>(nodes[base + at].key);
  }
};

std::size_t Forest::bytes() const {
  return nodes_.capacity() * sizeof(Node) + wide_.capacity() * sizeof(WideNode) + trees_.capacity() * sizeof(Tree) +
         values_.capacity() * sizeof(double) + sets_.capacity() * sizeof(ForestSet);
}

void Forest::add(const Tree& tree, std::size_t leaf, double* out) const {
  if (shape_.width == 1) {
    out[tree.slot] += values_[leaf];
    return;
  }
  const double* from = values_.data() + leaf * shape_.width;
  for (std::size_t k = 0; k < shape_.width; ++k) out[k] += from[k];
}

// Groups of eight rows (value f of row k at lanes[f * 8 + k]) through one tree after the other, so that a tree is
// fetched once for all of them.
template <class Layout, class Key>
void Forest::block(const Key* lanes, std::size_t rows, double* out) const {
  const Layout layout(*this);
  for (const auto& tree : trees_) {
    for (std::size_t r = 0; r < rows; r += kLanes) {
      const Key* group = lanes + r * shape_.features;
      std::array<std::uint32_t, kLanes> at;
      at.fill(1);
      for (std::uint32_t level = 0; level < tree.levels; ++level)
        for (std::size_t k = 0; k < kLanes; ++k) at[k] = layout.next(tree.base, at[k], group + k, kLanes);
      for (std::uint32_t moved = 1; moved != 0;) {
        moved = 0;
        for (std::size_t k = 0; k < kLanes; ++k) {
          auto to = layout.next(tree.base, at[k], group + k, kLanes);
          moved |= to ^ at[k];
          at[k] = to;
        }
      }
      const auto count = std::min(kLanes, rows - r);
      for (std::size_t k = 0; k < count; ++k) add(tree, layout.leaf(tree.base, at[k]), out + (r + k) * shape_.outputs);
    }
  }
}

// One row through eight trees at a time.
template <class Layout, class Key>
void Forest::one(const Key* row, double* out) const {
  const Layout layout(*this);
  for (std::size_t first = 0; first < trees_.size(); first += kLanes) {
    const auto count = std::min(kLanes, trees_.size() - first);
    std::array<std::uint32_t, kLanes> at;
    std::array<std::size_t, kLanes> base;
    at.fill(1);
    for (std::size_t k = 0; k < kLanes; ++k) base[k] = trees_[first + std::min(k, count - 1)].base;
    for (std::uint32_t moved = 1; moved != 0;) {
      moved = 0;
      for (std::size_t k = 0; k < kLanes; ++k) {
        auto to = layout.next(base[k], at[k], row, 1);
        moved |= to ^ at[k];
        at[k] = to;
      }
    }
    for (std::size_t k = 0; k < count; ++k) add(trees_[first + k], layout.leaf(base[k], at[k]), out);
  }
}

template <class Layout, class WithMissing>
Result<> Forest::run(const Frame& in, std::size_t first, std::size_t last, double* out) const {
  using X = typename Layout::X;
  using Key = typename Layout::Key;
  const auto width = shape_.features;
  bool holes = false;
  auto convert = [&](double v, Key& to) {
    const X x = shape_.floats ? static_cast<X>(static_cast<float>(v)) : static_cast<X>(v);
    to = key_of(x);
    holes = holes || std::isnan(x);
    return std::isfinite(x) || (std::isnan(x) ? shape_.missing : shape_.infinite);
  };
  auto refused = [&](std::size_t column, double v) {
    return fail(Code::invalid_argument, fmt::format("column #{} has a {} value, which this model does not take", column,
                                                    std::isnan(v) ? "missing (NaN)" : "too large or infinite"));
  };
  // A block of rows in groups of eight, or one row.
  const auto most = in.rows < kLanes / 2
                        ? std::size_t{1}
                        : std::clamp(kBlockBytes / (width * sizeof(Key)), kLanes, kMaxBlock) / kLanes * kLanes;
  std::vector<Key> lanes(width * most);
  while (first < last) {
    const auto left = last - first;
    const auto rows = left < kLanes / 2 ? 1 : std::min(most, left);
    const auto stride = rows == 1 ? 1 : kLanes;
    if (in.sparse) std::fill(lanes.begin(), lanes.end(), Key{0});
    for (std::size_t r = 0; r < rows; ++r) {
      Key* to = rows == 1 ? lanes.data() : lanes.data() + r / kLanes * kLanes * width + r % kLanes;
      const auto row = first + r;
      if (in.sparse) {
        for (auto i = in.starts[row]; i < in.starts[row + 1]; ++i)
          if (!convert(in.values[i], to[in.indices[i] * stride])) return refused(in.indices[i], in.values[i]);
        continue;
      }
      const double* from = in.data.data() + row * width;
      for (std::size_t c = 0; c < width; ++c)
        if (!convert(from[c], to[c * stride])) return refused(c, from[c]);
    }
    if (rows == 1)
      holes ? one<WithMissing>(lanes.data(), out) : one<Layout>(lanes.data(), out);
    else
      holes ? block<WithMissing>(lanes.data(), rows, out) : block<Layout>(lanes.data(), rows, out);
    out += rows * shape_.outputs;
    holes = false;
    first += rows;
  }
  return {};
}

Result<> Forest::sum(const Frame& in, std::vector<double>& out) const { return sum(in, 0, in.rows, out); }

Result<> Forest::sum(const Frame& in, std::size_t first, std::size_t last, std::vector<double>& out) const {
  if (in.rows == 0) return fail(Code::invalid_argument, "there are no rows (0 samples); at least one is needed");
  if (in.columns != shape_.features)
    return fail(Code::invalid_argument,
                fmt::format("the input has {} columns; the model was fitted with {}", in.columns, shape_.features));
  if (!in.texts.empty())
    return fail(Code::invalid_argument,
                fmt::format("column #{} holds texts, and this model takes numbers", in.texts.begin()->first));
  switch (form_) {
    case Form::small:
      return run<Packed<8, false>, Packed<8, true>>(in, first, last, out.data());
    case Form::medium:
      return run<Packed<14, false>, Packed<14, true>>(in, first, last, out.data());
    case Form::wide:
      break;
  }
  return sets_.empty() ? run<Wide<false, false>, Wide<false, true>>(in, first, last, out.data())
                       : run<Wide<true, true>, Wide<true, true>>(in, first, last, out.data());
}

ForestBuilder::ForestBuilder(const ForestShape& shape) {
  f_.shape_ = shape;
  // Bits of a link: feature, one flag, child. Node 0 of a tree is not used.
  auto fits = [&](int bits) {
    return shape.floats && shape.features <= 1U << bits && shape.max_nodes + 2 < 1U << (31 - bits);
  };
  // The caller has seen as many nodes in the file, so the room is not more than the file's own.
  f_.form_ = fits(8) ? Forest::Form::small : fits(14) ? Forest::Form::medium : Forest::Form::wide;
  if (f_.form_ == Forest::Form::wide)
    f_.wide_.reserve(shape.all_nodes);
  else
    f_.nodes_.reserve(shape.all_nodes);
  if (shape.width == 1) f_.values_.reserve(shape.all_nodes / 2);
}

std::int32_t ForestBuilder::add_set(const ForestSet& set) {
  f_.sets_.push_back(set);
  f_.form_ = Forest::Form::wide;
  return static_cast<std::int32_t>(f_.sets_.size()) - 1;
}

// Vectors often repeat: the leaves of deep trees mostly hold one class.
Result<std::uint32_t> ForestBuilder::leaf_values(std::span<const double> values) {
  const auto width = f_.shape_.width;
  const auto next = f_.values_.size() / width;
  if (width > 1) {
    auto h = hash_of(values);
    for (auto [it, end] = known_.equal_range(h); it != end; ++it)
      if (std::equal(values.begin(), values.end(),
                     f_.values_.begin() + static_cast<std::ptrdiff_t>(it->second * width)))
        return it->second;
    known_.emplace(h, static_cast<std::uint32_t>(next));
  }
  const std::size_t most = f_.form_ == Forest::Form::wide ? UINT32_MAX : kLeafIndex;
  if (next > most) return damaged_tree("ensemble has more leaves than are read");
  f_.values_.insert(f_.values_.end(), values.begin(), values.end());
  return static_cast<std::uint32_t>(next);
}

Result<> ForestBuilder::add(std::span<const ForestNode> nodes, std::span<const double> leaves, std::size_t slot) {
  const auto& shape = f_.shape_;
  if (nodes.empty() || nodes.size() > shape.max_nodes || nodes.size() > kMaxTreeNodes)
    return damaged_tree("has no nodes, or more than are read");
  if (slot >= shape.outputs) return damaged_tree("belongs to no output");
  const bool wide = f_.form_ == Forest::Form::wide;
  const int bits = f_.form_ == Forest::Form::small ? 8 : 14;
  Forest::Tree tree;
  tree.slot = static_cast<std::uint32_t>(slot);
  tree.base = wide ? f_.wide_.size() : f_.nodes_.size();
  // Level by level: order_[i] is the file's index of node i + 1.
  order_.clear();
  seen_.assign(nodes.size(), 0);
  order_.push_back(0);
  seen_[0] = 1;
  if (wide)
    f_.wide_.emplace_back();
  else
    f_.nodes_.emplace_back();
  bool leaf_met = false;
  std::size_t level_ends = 1;
  for (std::size_t i = 0; i < order_.size(); ++i) {
    if (i == level_ends) {
      if (!leaf_met) ++tree.levels;
      level_ends = order_.size();
    }
    const auto& n = nodes[order_[i]];
    const auto me = static_cast<std::uint32_t>(i + 1);
    if (n.left == 0) {
      leaf_met = true;
      if ((n.right + std::size_t{1}) * shape.width > leaves.size()) return damaged_tree("has a leaf without values");
      MR_TRY(auto index, leaf_values(leaves.subspan(n.right * shape.width, shape.width)));
      if (wide)
        f_.wide_.push_back({wide_index(index), 0, me - 1});
      else
        f_.nodes_.push_back({leaf_key(index), (me - 1) << (bits + 1)});
      continue;
    }
    if (n.left >= nodes.size() || n.right >= nodes.size() || n.left == n.right || seen_[n.left] != 0 ||
        seen_[n.right] != 0)
      return damaged_tree("has a child that does not exist or has two parents");
    if (n.feature >= shape.features) return damaged_tree("asks for a feature that the model does not have");
    if (n.set < 0 && std::isnan(n.threshold)) return damaged_tree("has a threshold that is no number");
    if (n.set >= 0 && static_cast<std::size_t>(n.set) >= f_.sets_.size()) return damaged_tree("has an unknown set");
    seen_[n.left] = seen_[n.right] = 1;
    const auto child = static_cast<std::uint32_t>(order_.size() + 1);
    order_.push_back(n.left);
    order_.push_back(n.right);
    if (wide)
      f_.wide_.push_back({n.set < 0 ? key_of(n.threshold) : wide_index(static_cast<std::uint32_t>(n.set)),
                          n.feature | (n.missing_left ? kMissingLeft : 0) | (n.set < 0 ? 0 : kSet), child});
    else
      f_.nodes_.push_back(
          {key_of(float_below(n.threshold)), n.feature | (n.missing_left ? 1U << bits : 0) | child << (bits + 1)});
  }
  f_.trees_.push_back(tree);
  return {};
}

Forest ForestBuilder::finish() {
  known_.clear();
  f_.nodes_.shrink_to_fit();
  f_.wide_.shrink_to_fit();
  f_.values_.shrink_to_fit();
  f_.trees_.shrink_to_fit();
  return std::move(f_);
}

}  // namespace mr::serving

// .cbm: "CBM1", the size of what follows, and a FlatBuffers table. Only the tables and fields that are needed are read;
// every position is checked against the buffer.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "serving/formats/catboost.h"

namespace mr::serving {

namespace {

std::unexpected<Error> broken_cbm(std::string what) {
  return fail(Code::invalid_argument, "the CatBoost model is damaged: " + std::move(what));
}

// A position in a FlatBuffer. Reads outside of the buffer give zeros and set `broken`, which is looked at once at the
// end of each stage; sizes that are used before are clamped by what the buffer can hold.
class Flat {
 public:
  explicit Flat(std::string_view bytes) : in_(bytes) {}
  bool broken = false;

  template <class T>
  T at(std::size_t pos) {
    T v{};
    if (pos > in_.size() || in_.size() - pos < sizeof(T)) {
      broken = true;
      return v;
    }
    std::memcpy(&v, in_.data() + pos, sizeof v);
    return v;
  }
  // Where an offset at `pos` leads; 0 is nowhere.
  std::size_t follow(std::size_t pos) {
    auto offset = at<std::uint32_t>(pos);
    if (offset == 0 || offset > in_.size() || pos > in_.size() - offset) {
      broken = true;
      return 0;
    }
    return pos + offset;
  }
  // The place of a table's field; 0 when the table has none.
  std::size_t field(std::size_t table, std::size_t number) {
    if (table == 0) return 0;
    auto back = at<std::int32_t>(table);
    auto vtable = static_cast<std::int64_t>(table) - back;
    if (vtable < 0 || vtable > static_cast<std::int64_t>(in_.size())) {
      broken = true;
      return 0;
    }
    auto v = static_cast<std::size_t>(vtable);
    auto slot = 4 + 2 * number;
    if (slot + 2 > at<std::uint16_t>(v)) return 0;
    auto offset = at<std::uint16_t>(v + slot);
    return offset == 0 ? 0 : table + offset;
  }
  template <class T>
  T scalar(std::size_t table, std::size_t number, T fallback) {
    auto p = field(table, number);
    return p == 0 ? fallback : at<T>(p);
  }
  std::size_t table(std::size_t owner, std::size_t number) {
    auto p = field(owner, number);
    return p == 0 ? 0 : follow(p);
  }
  struct List {
    std::size_t first = 0;
    std::size_t count = 0;
  };
  // A vector of items of `size` bytes.
  List list(std::size_t owner, std::size_t number, std::size_t size) {
    auto p = table(owner, number);
    if (p == 0) return {};
    std::size_t count = at<std::uint32_t>(p);
    if (count > (in_.size() - std::min(in_.size(), p + 4)) / size) {
      broken = true;
      return {};
    }
    return {p + 4, count};
  }
  std::string text(std::size_t owner, std::size_t number) {
    auto l = list(owner, number, 1);
    return std::string(in_.substr(std::min(l.first, in_.size()), l.count));
  }
  template <class T>
  std::vector<T> numbers(std::size_t owner, std::size_t number) {
    auto l = list(owner, number, sizeof(T));
    std::vector<T> out(l.count);
    if (l.count > 0) std::memcpy(out.data(), in_.data() + l.first, l.count * sizeof(T));
    return out;
  }

 private:
  std::string_view in_;
};

class CatboostFlat {
 public:
  explicit CatboostFlat(std::string_view core) : f_(core) {}

  Result<CatboostParts> read() {
    auto root = f_.follow(0);
    auto trees = f_.table(root, 1);
    if (trees == 0) return broken_cbm("it has no trees");
    if (f_.list(trees, 7, 4).count > 0) return native_not("features of target statistics (CTR)");
    for (std::size_t other : {12, 13, 18})
      if (f_.list(trees, other, 4).count > 0) return native_not("features of texts and embeddings");
    MR_CHECK(features(trees));
    MR_CHECK(information(root));
    auto dimension = f_.scalar<std::int32_t>(trees, 0, 1);
    if (dimension < 1 || dimension > 100'000) return broken_cbm("its number of outputs is impossible");
    p_.dimension = static_cast<std::size_t>(dimension);
    p_.scale = f_.scalar<double>(trees, 14, 1);
    p_.bias = f_.numbers<double>(trees, 16);
    if (p_.bias.empty()) p_.bias = {f_.scalar<double>(trees, 15, 0)};
    MR_CHECK(read_trees(trees));
    if (f_.broken) return broken_cbm("it refers to places outside of itself");
    return std::move(p_);
  }

 private:
  struct Bin {  // a question that splits ask, numbered in the order of the features
    bool category = false;
    std::size_t feature = 0;
    double border = 0;
    std::int32_t value = 0;
  };

  static std::unexpected<Error> native_not(std::string_view what) {
    return fail(Code::unimplemented, fmt::format("CatBoost's {} are not served natively", what));
  }

  Result<> features(std::size_t trees) {
    constexpr std::int32_t most = 1'000'000;
    auto name = [&](std::size_t flat, std::string text) {
      if (p_.names.size() <= flat) p_.names.resize(flat + 1);
      p_.names[flat] = std::move(text);
    };
    auto floats = f_.list(trees, 5, 4);
    for (std::size_t i = 0; i < floats.count; ++i) {
      auto t = f_.follow(floats.first + 4 * i);
      auto index = f_.scalar<std::int32_t>(t, 1, -1);
      auto flat = f_.scalar<std::int32_t>(t, 2, -1);
      if (f_.broken || index < 0 || flat < 0 || index > most || flat > most)
        return broken_cbm("a feature has no index");
      auto at = static_cast<std::size_t>(index);
      if (p_.floats.size() <= at) p_.floats.resize(at + 1);
      p_.floats[at].flat = static_cast<std::size_t>(flat);
      if (f_.scalar<std::int8_t>(t, 5, 0) == 2) p_.floats[at].missing = MissingGoes::right;
      for (float b : f_.numbers<float>(t, 3)) bins_.push_back({.feature = at, .border = static_cast<double>(b)});
      name(static_cast<std::size_t>(flat), f_.text(t, 4));
    }
    auto categories = f_.list(trees, 4, 4);
    for (std::size_t i = 0; i < categories.count; ++i) {
      auto t = f_.follow(categories.first + 4 * i);
      auto index = f_.scalar<std::int32_t>(t, 0, -1);
      auto flat = f_.scalar<std::int32_t>(t, 1, -1);
      if (f_.broken || index < 0 || flat < 0 || index > most || flat > most)
        return broken_cbm("a feature has no index");
      auto at = static_cast<std::size_t>(index);
      if (p_.categories.size() <= at) p_.categories.resize(at + 1);
      p_.categories[at].flat = static_cast<std::size_t>(flat);
      name(static_cast<std::size_t>(flat), f_.text(t, 2));
    }
    auto hot = f_.list(trees, 6, 4);
    for (std::size_t i = 0; i < hot.count; ++i) {
      auto t = f_.follow(hot.first + 4 * i);
      auto index = f_.scalar<std::int32_t>(t, 0, -1);
      if (f_.broken || index < 0 || static_cast<std::size_t>(index) >= p_.categories.size())
        return broken_cbm("a one-hot feature is of no category");
      for (auto v : f_.numbers<std::int32_t>(t, 1))
        bins_.push_back({.category = true, .feature = static_cast<std::size_t>(index), .value = v});
    }
    if (f_.broken) return broken_cbm("its features lie outside of it");
    return {};
  }

  // Key and value texts; the values that matter are JSON.
  Result<> information(std::size_t root) {
    auto all = f_.list(root, 2, 4);
    for (std::size_t i = 0; i < all.count; ++i) {
      auto t = f_.follow(all.first + 4 * i);
      auto key = f_.text(t, 0);
      if (key == "params") {
        MR_TRY(auto doc, read_json_model(f_.text(t, 1), 1'000'000));
        if (const auto* loss = doc.find("loss_function")) p_.loss = loss->text_or("type", "");
      } else if (key == "class_params") {
        MR_TRY(p_.classes, read_json_model(f_.text(t, 1), 1'000'000));
      } else if (key == "binclass_probability_threshold") {
        MR_TRY(auto doc, read_json_model(f_.text(t, 1), 10));
        if (doc.kind == Doc::Kind::number) p_.threshold = doc.number;
      }
    }
    if (f_.broken) return broken_cbm("its information lies outside of it");
    return {};
  }

  Result<TreeSplit> split(std::int32_t bin) {
    if (bin < 0 || static_cast<std::size_t>(bin) >= bins_.size())
      return broken_cbm("a split asks for a border that does not exist");
    const auto& b = bins_[static_cast<std::size_t>(bin)];
    return b.category ? p_.category_split(b.feature, b.value) : p_.float_split(b.feature, b.border);
  }

  Result<> read_trees(std::size_t trees) {
    auto splits = f_.numbers<std::int32_t>(trees, 1);
    auto sizes = f_.numbers<std::int32_t>(trees, 2);
    auto leaves = f_.numbers<double>(trees, 8);
    auto steps = f_.list(trees, 10, 4);
    auto leaf_of = f_.numbers<std::uint32_t>(trees, 11);
    if (f_.broken) return broken_cbm("its trees lie outside of it");
    const bool symmetric = steps.count == 0;
    if (!symmetric && (steps.count != splits.size() || leaf_of.size() != splits.size()))
      return broken_cbm("the lists of its nodes differ in length");
    std::size_t first = 0;
    std::size_t leaf = 0;
    for (auto size : sizes) {
      if (size < 0 || static_cast<std::size_t>(size) > splits.size() - first)
        return broken_cbm("a tree has more splits than there are");
      auto n = static_cast<std::size_t>(size);
      SourceTree t;
      if (symmetric) {
        if (n > 16) return broken_cbm("a tree has too many levels");
        auto count = (std::size_t{1} << n) * p_.dimension;
        if (count > leaves.size() - leaf) return broken_cbm("a tree has more leaves than there are");
        t.oblivious = true;
        for (std::size_t i = 0; i < n; ++i) {
          MR_TRY(auto made, split(splits[first + i]));
          t.splits.push_back(made);
        }
        auto from = leaves.begin() + static_cast<std::ptrdiff_t>(leaf);
        t.leaves.assign(from, from + static_cast<std::ptrdiff_t>(count));
        leaf += count;
      } else {
        MR_CHECK(nodes(t, splits, steps, leaf_of, leaves, first, n));
      }
      p_.trees.push_back(std::move(t));
      first += n;
    }
    return {};
  }

  // A node's two steps say how far on its children stand; 0: it ends there, with the leaf that the node names.
  Result<> nodes(SourceTree& t, const std::vector<std::int32_t>& splits, Flat::List steps,
                 const std::vector<std::uint32_t>& leaf_of, const std::vector<double>& leaves, std::size_t first,
                 std::size_t n) {
    if (n == 0) return broken_cbm("a tree has no nodes");
    std::vector<std::int32_t> place(n);  // a split or ~leaf
    std::int32_t count = 0;
    auto step = [&](std::size_t i, std::size_t side) -> std::size_t {
      return f_.at<std::uint16_t>(steps.first + 4 * (first + i) + 2 * side);
    };
    auto add_leaf = [&](std::size_t i) -> Result<std::int32_t> {
      std::size_t at = leaf_of[first + i];
      if (at > leaves.size() || leaves.size() - at < p_.dimension) return broken_cbm("a node names no leaf");
      auto from = leaves.begin() + static_cast<std::ptrdiff_t>(at);
      t.leaves.insert(t.leaves.end(), from, from + static_cast<std::ptrdiff_t>(p_.dimension));
      return ~static_cast<std::int32_t>(t.leaves.size() / p_.dimension - 1);
    };
    for (std::size_t i = 0; i < n; ++i) {
      if (step(i, 0) == 0 && step(i, 1) == 0) {
        MR_TRY(place[i], add_leaf(i));
      } else {
        place[i] = count++;
      }
    }
    for (std::size_t i = 0; i < n; ++i) {
      if (place[i] < 0) continue;
      MR_TRY(auto made, split(splits[first + i]));
      for (std::size_t side : {0, 1}) {
        auto& child = side == 0 ? made.left : made.right;
        if (auto by = step(i, side); by == 0) {
          MR_TRY(child, add_leaf(i));
        } else if (by >= n - i) {
          return broken_cbm("a node's child lies outside of its tree");
        } else {
          child = place[i + by];
        }
      }
      t.splits.push_back(made);
    }
    return {};
  }

  Flat f_;
  CatboostParts p_;
  std::vector<Bin> bins_;
};

}  // namespace

Result<BoostedModel> read_catboost_binary(std::string_view bytes, std::string_view model_class) {
  std::uint32_t size = 0;
  if (!bytes.starts_with("CBM1") || bytes.size() < 8) return broken_cbm("it does not begin with CBM1 and a size");
  std::memcpy(&size, bytes.data() + 4, sizeof size);
  if (size > bytes.size() - 8) return broken_cbm("it is cut short");
  MR_TRY(auto parts, CatboostFlat(bytes.substr(8, size)).read());
  return make_catboost(std::move(parts), model_class);
}

}  // namespace mr::serving

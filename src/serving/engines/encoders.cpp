// Categories to numbers: OneHotEncoder, OrdinalEncoder, TargetEncoder. What an encoder does to a category (grouping,
// dropping, missing and unknown ones) is worked out at load, so that a request only looks codes up.
#include "serving/engines/transform.h"

namespace mr::serving {

namespace {

constexpr std::uint32_t kUnknown = UINT32_MAX;

struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};

// The categories of one column: value -> place.
class Categories {
 public:
  static Result<Categories> read(const Build& b, NodeId owner, NodeId id) {
    Categories c;
    if (auto a = b.tree.array_of(id)) {
      for (const auto& text : a->texts) c.add_text(text);
      for (double v : a->numbers) c.add_number(v);
    } else {
      auto cells = b.tree.cells(id);
      if (!cells) return b.bad(owner, "categories_ holds something else than arrays");
      for (auto cell : *cells) {
        if (b.tree.is_none(cell)) {
          if (c.none_ == kUnknown)
            c.none_ = c.next();
          else
            c.next();
          continue;
        }
        if (b.tree.at(cell).kind == NodeKind::text) {
          c.add_text(b.tree.at(cell).text);
          continue;
        }
        auto one = b.tree.array_of(cell);
        if (!one || one->size() != 1) return b.bad(owner, "a category is neither a number nor a text");
        if (!one->texts.empty())
          c.add_text(one->texts[0]);
        else
          c.add_number(one->numbers[0]);
      }
    }
    if (c.size_ == 0 || c.size_ > kMaxColumns) return b.bad(owner, "a column has no categories, or more than are read");
    std::ranges::sort(c.numbers_);
    return c;
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  // The places of a column's values; kUnknown where there is none.
  void find(const Frame& in, std::size_t column, std::vector<std::uint32_t>& out) const {
    out.resize(in.rows);
    if (!in.texts.empty())
      if (auto t = in.texts.find(column); t != in.texts.end()) {
        const auto& texts = t->second;
        const auto absent = none_ != kUnknown ? none_ : nan_;
        for (std::size_t r = 0; r < in.rows; ++r) {
          if (texts.missing[r] != 0) {
            out[r] = absent;
            continue;
          }
          auto it = texts_.find(std::string_view(texts.values[r]));
          out[r] = it == texts_.end() ? kUnknown : it->second;
        }
        return;
      }
    const auto absent = nan_ != kUnknown ? nan_ : none_;
    for (std::size_t r = 0; r < in.rows; ++r) {
      double v = in.data[r * in.columns + column];
      out[r] = std::isnan(v) ? absent : number(v);
    }
  }

 private:
  std::uint32_t next() { return static_cast<std::uint32_t>(size_++); }
  void add_text(const std::string& s) { texts_.try_emplace(s, next()); }
  void add_number(double v) {
    if (!std::isnan(v))
      numbers_.emplace_back(v, next());
    else if (nan_ == kUnknown)
      nan_ = next();
    else
      next();
  }
  [[nodiscard]] std::uint32_t number(double v) const {
    auto it = std::ranges::lower_bound(numbers_, v, {}, [](const auto& p) { return p.first; });
    return it == numbers_.end() || it->first != v ? kUnknown : it->second;
  }

  std::size_t size_ = 0;
  std::unordered_map<std::string, std::uint32_t, TextHash, std::equal_to<>> texts_;
  std::vector<std::pair<double, std::uint32_t>> numbers_;
  std::uint32_t nan_ = kUnknown;
  std::uint32_t none_ = kUnknown;
};

std::unexpected<Error> unknown_category(std::size_t column) {
  return at_column(column, "has a category that the model was not fitted with");
}

Result<std::vector<Categories>> all_categories(const Build& b, NodeId id) {
  std::vector<Categories> out;
  for (auto c : b.items(id, "categories_")) {
    MR_TRY(auto one, Categories::read(b, id, c));
    out.push_back(std::move(one));
  }
  if (out.empty()) return b.bad(id, "it has no categories_: is it fitted?");
  return out;
}

// How the rare categories of a column are grouped: place -> place among the frequent ones, all rare ones to the last.
struct Grouping {
  std::vector<std::size_t> to;  // empty: as they are
  std::size_t rare = 0;         // where rare ones go
  std::size_t size = 0;         // how many there are then
};

Result<std::vector<Grouping>> groupings(const Build& b, NodeId id, const std::vector<Categories>& columns) {
  std::vector<Grouping> out(columns.size());
  for (std::size_t i = 0; i < columns.size(); ++i) out[i].size = columns[i].size();
  if (!b.flag_or(id, "_infrequent_enabled", false)) return out;
  auto maps = b.items(id, "_default_to_infrequent_mappings");
  if (maps.size() != columns.size()) return b.bad(id, "its grouping of rare categories does not fit categories_");
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (b.tree.is_none(maps[i])) continue;
    MR_TRY(auto to, numbers_at(b.tree, maps[i]));
    // A missing category may stand outside the grouping, at the end.
    if (to.empty() || to.size() > columns[i].size() || to.size() + 1 < columns[i].size())
      return b.bad(id, "its grouping of rare categories does not fit categories_");
    auto& g = out[i];
    for (double v : to) {
      if (!(v >= 0 && v < static_cast<double>(columns[i].size())) || v != std::floor(v))
        return b.bad(id, "its grouping of rare categories is out of range");
      g.to.push_back(static_cast<std::size_t>(v));
      g.rare = std::max(g.rare, g.to.back());
    }
    g.size = g.rare + 1;
  }
  return out;
}

// --- OneHotEncoder ---

constexpr std::uint32_t kZeros = UINT32_MAX;       // no column: all zeros
constexpr std::uint32_t kRefuse = UINT32_MAX - 1;  // an unknown category is an error

class OneHot : public ColumnsTransform {
 public:
  struct Column {
    Categories categories;
    std::vector<std::uint32_t> to;  // of each category: output column or kZeros
    std::uint32_t unknown = kRefuse;
  };
  std::vector<Column> columns_;
  std::size_t width = 0;
  bool sparse_rows = true;
  bool f32 = false;

 protected:
  [[nodiscard]] Result<Frame> run(const Frame& in, std::span<const std::size_t> columns) const override {
    Frame out;
    out.rows = in.rows;
    out.columns = width;
    out.f32 = f32;
    std::vector<std::uint32_t> found;
    // Places of the ones, row by row.
    std::vector<std::uint32_t> ones(in.rows * columns.size());
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const auto& c = columns_[i];
      c.categories.find(in, columns[i], found);
      for (std::size_t r = 0; r < in.rows; ++r) {
        auto to = found[r] == kUnknown ? c.unknown : c.to[found[r]];
        if (to == kRefuse) return unknown_category(columns[i]);
        ones[r * columns.size() + i] = to;
      }
    }
    if (!sparse_rows) {
      if (width != 0 && in.rows > kMaxCells / width)
        return fail(Code::too_large, "the rows give more encoded columns than fit into memory");
      out.data.resize(in.rows * width);
      for (std::size_t r = 0; r < in.rows; ++r)
        for (std::size_t i = 0; i < columns.size(); ++i)
          if (auto to = ones[r * columns.size() + i]; to != kZeros) out.data[r * width + to] = 1;
      return out;
    }
    out.sparse = true;
    out.starts.reserve(in.rows + 1);
    out.starts.push_back(0);
    out.indices.reserve(ones.size());
    for (std::size_t r = 0; r < in.rows; ++r) {
      for (std::size_t i = 0; i < columns.size(); ++i)
        if (auto to = ones[r * columns.size() + i]; to != kZeros) out.indices.push_back(to);
      out.starts.push_back(out.indices.size());
    }
    out.values.assign(out.indices.size(), 1.0);
    return out;
  }
};

// drop_idx_ after grouping, of each column; SIZE_MAX: nothing is dropped.
Result<std::vector<std::size_t>> dropped(const Build& b, NodeId id, const std::vector<Grouping>& groups) {
  std::vector<std::size_t> out(groups.size(), SIZE_MAX);
  auto at = b.tree.get(id, "_drop_idx_after_grouping");
  if (at == kNoNode) at = b.tree.get(id, "drop_idx_");
  if (b.tree.is_none(at)) return out;
  std::vector<double> places;
  if (auto a = b.tree.array_of(at); a && a->texts.empty()) {
    places = a->numbers;
  } else {
    auto cells = b.tree.cells(at);
    if (!cells) return b.bad(id, "drop_idx_ is not an array");
    for (auto c : *cells) {
      if (b.tree.is_none(c)) {
        places.push_back(-1);
        continue;
      }
      auto one = b.tree.array_of(c);
      if (!one || one->numbers.size() != 1 || one->numbers[0] < 0) return b.bad(id, "drop_idx_ is not made of places");
      places.push_back(one->numbers[0]);
    }
  }
  if (places.size() != groups.size()) return b.bad(id, "drop_idx_ does not fit categories_");
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (places[i] == -1) continue;
    if (!(places[i] >= 0 && places[i] < static_cast<double>(groups[i].size)) || places[i] != std::floor(places[i]))
      return b.bad(id, "drop_idx_ is out of range");
    out[i] = static_cast<std::size_t>(places[i]);
  }
  return out;
}

Result<EstimatorPtr> make_one_hot(Build& b, NodeId id) {
  auto e = std::make_unique<OneHot>();
  MR_TRY(auto columns, all_categories(b, id));
  MR_TRY(auto groups, groupings(b, id, columns));
  MR_TRY(auto drop, dropped(b, id, groups));
  auto unknown = b.text_or(id, "handle_unknown", "error");
  const bool to_rare = unknown == "infrequent_if_exist" || unknown == "warn";
  if (!to_rare && unknown != "ignore" && unknown != "error")
    return b.bad(id, fmt::format("handle_unknown '{}' is not read", printable(unknown)));
  for (std::size_t i = 0; i < columns.size(); ++i) {
    OneHot::Column c{std::move(columns[i]), {}, kRefuse};
    const auto& g = groups[i];
    auto column_of = [&](std::size_t place) {
      if (place == drop[i]) return kZeros;
      return static_cast<std::uint32_t>(e->width + place - (drop[i] != SIZE_MAX && place > drop[i] ? 1 : 0));
    };
    for (std::size_t k = 0; k < c.categories.size(); ++k)
      c.to.push_back(column_of(k < g.to.size() ? g.to[k] : std::min(k, g.size - 1)));
    if (unknown != "error") c.unknown = to_rare && !g.to.empty() ? column_of(g.rare) : kZeros;
    e->width += g.size - (drop[i] == SIZE_MAX ? 0 : 1);
    if (e->width > kMaxColumns) return b.bad(id, "it makes more columns than are read");
    e->columns_.push_back(std::move(c));
  }
  e->sparse_rows = b.flag_or(id, "sparse_output", b.flag_or(id, "sparse", true));
  e->f32 = is_float32(b.tree, b.tree.get(id, "dtype"));
  e->set_features(e->columns_.size());
  return e;
}

// --- OrdinalEncoder, TargetEncoder: a category's place stands for a number ---

class Lookup : public ColumnsTransform {
 public:
  struct Column {
    Categories categories;
    std::vector<std::vector<double>> values;  // for each output of the column, of each category
    std::vector<double> unknown;              // for each output
    bool refuse = false;
  };
  std::vector<Column> columns_;
  std::size_t per_column = 1;
  bool f32 = false;

 protected:
  [[nodiscard]] Result<Frame> run(const Frame& in, std::span<const std::size_t> columns) const override {
    Frame out;
    out.rows = in.rows;
    out.columns = columns.size() * per_column;
    out.f32 = f32;
    out.data.resize(out.rows * out.columns);
    std::vector<std::uint32_t> found;
    for (std::size_t i = 0; i < columns.size(); ++i) {
      const auto& c = columns_[i];
      c.categories.find(in, columns[i], found);
      if (c.refuse && std::ranges::find(found, kUnknown) != found.end()) return unknown_category(columns[i]);
      for (std::size_t k = 0; k < per_column; ++k) {
        const auto& values = c.values[k];
        double* to = out.data.data() + i * per_column + k;
        for (std::size_t r = 0; r < in.rows; ++r, to += out.columns)
          *to = found[r] == kUnknown ? c.unknown[k] : values[found[r]];
      }
    }
    return out;
  }
};

// _missing_indices: column -> place of its missing category. Keys are integers, as texts in skops.
std::map<std::size_t, std::size_t> missing_places(const Build& b, NodeId id) {
  std::map<std::size_t, std::size_t> out;
  auto at = b.tree.get(id, "_missing_indices");
  if (b.tree.is_none(at) || b.tree.at(at).kind != NodeKind::dict) return out;
  const auto& items = b.tree.at(at).items;
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    std::optional<double> key;
    if (const auto& k = b.tree.at(items[i]); k.kind == NodeKind::text) {
      std::uint64_t n = 0;
      if (std::from_chars(k.text.data(), k.text.data() + k.text.size(), n).ec == std::errc())
        key = static_cast<double>(n);
    } else if (auto a = b.tree.array_of(items[i]); a && a->numbers.size() == 1) {
      key = a->numbers[0];
    }
    auto place = b.tree.array_of(items[i + 1]);
    if (key && *key >= 0 && *key < 1e9 && place && place->numbers.size() == 1 && place->numbers[0] >= 0 &&
        place->numbers[0] < 1e9)
      out[static_cast<std::size_t>(*key)] = static_cast<std::size_t>(place->numbers[0]);
  }
  return out;
}

Result<EstimatorPtr> make_ordinal(Build& b, NodeId id) {
  auto e = std::make_unique<Lookup>();
  MR_TRY(auto columns, all_categories(b, id));
  MR_TRY(auto groups, groupings(b, id, columns));
  auto unknown = b.text_or(id, "handle_unknown", "error");
  if (unknown != "error" && unknown != "use_encoded_value")
    return b.bad(id, fmt::format("handle_unknown '{}' is not read", printable(unknown)));
  const double for_unknown = b.number_or(id, "unknown_value", std::nan(""));
  const double for_missing = b.number_or(id, "encoded_missing_value", std::nan(""));
  auto missing = missing_places(b, id);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    Lookup::Column c{std::move(columns[i]), {{}}, {for_unknown}, unknown == "error"};
    const auto& g = groups[i];
    auto absent = missing.contains(i) ? missing[i] : SIZE_MAX;
    for (std::size_t k = 0; k < c.categories.size(); ++k) {
      auto place = k != absent && k < g.to.size() ? g.to[k] : k;
      c.values[0].push_back(place == absent ? for_missing : static_cast<double>(place));
    }
    e->columns_.push_back(std::move(c));
  }
  e->f32 = is_float32(b.tree, b.tree.get(id, "dtype"));
  e->set_features(e->columns_.size());
  return e;
}

Result<EstimatorPtr> make_target(Build& b, NodeId id) {
  auto e = std::make_unique<Lookup>();
  MR_TRY(auto columns, all_categories(b, id));
  auto encodings = b.items(id, "encodings_");
  MR_TRY(auto means, b.numbers(id, "target_mean_"));
  if (means.empty() || encodings.size() != columns.size() * means.size())
    return b.bad(id, "encodings_ does not fit categories_ and target_mean_");
  e->per_column = means.size();
  for (std::size_t i = 0; i < columns.size(); ++i) {
    Lookup::Column c{std::move(columns[i]), {}, means, false};
    for (std::size_t k = 0; k < means.size(); ++k) {
      MR_TRY(auto values, numbers_at(b.tree, encodings[i * means.size() + k]));
      if (values.size() != c.categories.size()) return b.bad(id, "encodings_ does not fit categories_");
      c.values.push_back(std::move(values));
    }
    e->columns_.push_back(std::move(c));
  }
  e->set_features(e->columns_.size());
  return e;
}

}  // namespace

void add_encoders(Makers& m) {
  m["sklearn*OneHotEncoder"] = make_one_hot;
  m["sklearn*OrdinalEncoder"] = make_ordinal;
  m["sklearn*TargetEncoder"] = make_target;
}

}  // namespace mr::serving

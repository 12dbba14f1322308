// Texts to sparse rows of numbers: CountVectorizer, TfidfVectorizer, TfidfTransformer, HashingVectorizer.
#include "serving/engines/transform.h"
#include "serving/engines/words.h"

namespace mr::serving {

namespace {

enum class RowNorm : std::uint8_t { none, l1, l2, max };

Result<RowNorm> norm_of(const Build& b, NodeId id, std::string_view fallback) {
  auto at = b.tree.get(id, "norm");
  if (at != kNoNode && b.tree.is_none(at)) return RowNorm::none;
  auto norm = at == kNoNode ? std::string(fallback) : b.tree.text_of(at);
  if (norm == "l2") return RowNorm::l2;
  if (norm == "l1") return RowNorm::l1;
  if (norm == "max") return RowNorm::max;
  return b.bad(id, "its norm is not read");
}

void normalise(std::span<double> row, RowNorm norm, bool f32) {
  if (norm == RowNorm::none) return;
  double size = 0;
  for (double v : row)
    size = norm == RowNorm::l2   ? size + v * v
           : norm == RowNorm::l1 ? size + std::fabs(v)
                                 : std::max(size, std::fabs(v));
  if (norm == RowNorm::l2) size = std::sqrt(size);
  if (size == 0) return;
  for (double& v : row) v = f32 ? to_f32(v / size) : v / size;
}

// What TfidfTransformer does to a row of counts.
struct Weighting {
  bool sublinear = false;
  std::vector<double> idf;  // or empty
  RowNorm norm = RowNorm::none;

  void apply(std::span<const std::uint32_t> columns, std::span<double> values, bool f32) const {
    if (sublinear)
      for (double& v : values) v = std::log(v) + 1;
    if (!idf.empty())
      for (std::size_t k = 0; k < values.size(); ++k) values[k] *= idf[columns[k]];
    if (f32)
      for (double& v : values) v = to_f32(v);
    normalise(values, norm, f32);
  }

  static Result<Weighting> read(const Build& b, NodeId id, std::size_t columns) {
    Weighting w;
    w.sublinear = b.flag_or(id, "sublinear_tf", false);
    MR_TRY(w.norm, norm_of(b, id, "l2"));
    if (!b.flag_or(id, "use_idf", true)) return w;
    auto at = b.tree.get(id, "idf_");
    if (b.tree.is_none(at)) {
      // Before 1.5: the diagonal of a sparse matrix.
      auto matrix = b.tree.get(id, "_idf_diag");
      if (b.tree.is_none(matrix)) return b.bad(id, "it has no idf_: is it fitted?");
      at = b.tree.get(matrix, "data");
    }
    auto a = b.tree.array_of(at);
    if (!a || a->numbers.empty() || (columns != 0 && a->numbers.size() != columns))
      return b.bad(id, "idf_ does not fit the vocabulary");
    w.idf = std::move(a->numbers);
    return w;
  }
};

// The one column of texts that a vectoriser reads.
Result<const TextColumn*> text_column(const Frame& in, std::span<const std::size_t> columns) {
  if (in.rows == 0) return fail(Code::invalid_argument, "there are no rows (0 samples); at least one is needed");
  if (columns.size() != 1)
    return fail(Code::invalid_argument,
                fmt::format("the input has {} columns; the model takes one column of texts", columns.size()));
  auto it = in.texts.find(columns[0]);
  if (it == in.texts.end()) return at_column(columns[0], "holds numbers, and this model takes texts there");
  for (auto m : it->second.missing)
    if (m != 0) return at_column(columns[0], "has a missing text");
  return &it->second;
}

class Vectoriser : public Estimator {
 public:
  explicit Vectoriser(Analyzer a) : analyzer(std::move(a)) {}
  Analyzer analyzer;
  bool binary = false;
  bool f32 = false;
  [[nodiscard]] std::size_t features() const override { return 0; }
  [[nodiscard]] Result<Frame> transform(const Frame& in) const override {
    static constexpr std::array<std::size_t, 1> first{0};
    if (in.columns != 1)
      return fail(Code::invalid_argument,
                  fmt::format("the input has {} columns; the model takes one column of texts", in.columns));
    return run(in, first);
  }
  [[nodiscard]] Result<Frame> transform_columns(const Frame& in, std::span<const std::size_t> columns) const override {
    return run(in, columns);
  }

 protected:
  [[nodiscard]] virtual Result<Frame> run(const Frame& in, std::span<const std::size_t> columns) const = 0;
};

// CountVectorizer and TfidfVectorizer.
class Vocabulary : public Vectoriser {
 public:
  using Vectoriser::Vectoriser;
  std::unordered_map<std::string, std::uint32_t, TransparentHash, std::equal_to<>> terms;
  std::size_t width = 0;
  std::optional<Weighting> weighting;

 protected:
  [[nodiscard]] Result<Frame> run(const Frame& in, std::span<const std::size_t> columns) const override {
    MR_TRY(const auto* texts, text_column(in, columns));
    Frame out;
    out.rows = in.rows;
    out.columns = width;
    out.f32 = f32;
    out.sparse = true;
    out.starts.reserve(in.rows + 1);
    out.starts.push_back(0);
    Analyzer::Scratch scratch;
    std::vector<std::uint32_t> found;
    for (const auto& text : texts->values) {
      found.clear();
      analyzer.each_term(text, scratch, [&](std::string_view term) {
        if (auto it = terms.find(term); it != terms.end()) found.push_back(it->second);
      });
      std::ranges::sort(found);
      const auto from = out.indices.size();
      for (std::size_t i = 0; i < found.size();) {
        auto end = i + 1;
        while (end < found.size() && found[end] == found[i]) ++end;
        out.indices.push_back(found[i]);
        out.values.push_back(binary ? 1.0 : static_cast<double>(end - i));
        i = end;
      }
      if (weighting) weighting->apply(std::span(out.indices).subspan(from), std::span(out.values).subspan(from), f32);
      out.starts.push_back(out.indices.size());
    }
    return out;
  }
};

Result<std::unique_ptr<Vocabulary>> vocabulary_of(Build& b, NodeId id) {
  MR_TRY(auto analyzer, Analyzer::read(b, id));
  auto v = std::make_unique<Vocabulary>(std::move(analyzer));
  auto at = b.tree.get(id, "vocabulary_");
  if (at == kNoNode || b.tree.at(at).kind != NodeKind::dict) return b.bad(id, "it has no vocabulary_: is it fitted?");
  const auto& items = b.tree.at(at).items;
  v->width = items.size() / 2;
  if (v->width == 0 || v->width > kMaxColumns) return b.bad(id, "vocabulary_ has no terms, or more than are read");
  v->terms.reserve(v->width);
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    const auto& key = b.tree.at(items[i]);
    if (key.kind != NodeKind::text) return b.bad(id, "vocabulary_ has a term that is no text");
    double place = -1;
    if (const auto& value = b.tree.at(items[i + 1]); value.kind == NodeKind::integer)
      place = static_cast<double>(value.integer);
    else if (auto a = b.tree.array_of(items[i + 1]); a && a->numbers.size() == 1)
      place = a->numbers[0];
    if (!(place >= 0 && place < static_cast<double>(v->width)) || place != std::floor(place))
      return b.bad(id, "vocabulary_ has a place that is out of range");
    v->terms[key.text] = static_cast<std::uint32_t>(place);
  }
  v->binary = b.flag_or(id, "binary", false);
  v->f32 = is_float32(b.tree, b.tree.get(id, "dtype"));
  return v;
}

Result<EstimatorPtr> make_count(Build& b, NodeId id) {
  MR_TRY(auto v, vocabulary_of(b, id));
  return v;
}

Result<EstimatorPtr> make_tfidf(Build& b, NodeId id) {
  MR_TRY(auto v, vocabulary_of(b, id));
  auto inner = b.tree.get(id, "_tfidf");
  if (b.tree.is_none(inner)) return b.bad(id, "it has no _tfidf: is it fitted?");
  MR_TRY(v->weighting, Weighting::read(b, inner, v->width));
  return v;
}

class TfidfTransform : public NumberTransform {
 public:
  Weighting weighting;
  TfidfTransform() { take = Take::finite; }
  [[nodiscard]] bool takes_sparse() const override { return true; }

 protected:
  [[nodiscard]] Result<Frame> compute(Frame f) const override {
    if (!f.sparse) {
      std::vector<Frame> one;
      one.push_back(std::move(f));
      const auto rows = one[0].rows;
      MR_TRY(f, side_by_side(std::move(one), rows, true));
    }
    for (std::size_t r = 0; r < f.rows; ++r) {
      const auto from = f.starts[r];
      const auto count = f.starts[r + 1] - from;
      weighting.apply(std::span(f.indices).subspan(from, count), std::span(f.values).subspan(from, count), f.f32);
    }
    return f;
  }
};

Result<EstimatorPtr> make_tfidf_transformer(Build& b, NodeId id) {
  auto t = std::make_unique<TfidfTransform>();
  MR_TRY(t->weighting, Weighting::read(b, id, 0));
  MR_TRY(auto n, feature_count(b, id, t->weighting.idf.size()));
  if (n == 0 || (!t->weighting.idf.empty() && t->weighting.idf.size() != n))
    return b.bad(id, "idf_ does not fit n_features_in_");
  t->set_features(n);
  return t;
}

// MurmurHash3 for 32 bits, of Austin Appleby, with seed 0: the hash that the original takes.
std::uint32_t murmur3(std::string_view s) {
  auto turn = [](std::uint32_t v, int by) { return v << by | v >> (32 - by); };
  auto scramble = [&](std::uint32_t k) { return turn(k * 0xcc9e2d51U, 15) * 0x1b873593U; };
  std::uint32_t h = 0;
  std::size_t i = 0;
  for (; i + 4 <= s.size(); i += 4) {
    std::uint32_t k = 0;
    std::memcpy(&k, s.data() + i, 4);
    h = turn(h ^ scramble(k), 13) * 5 + 0xe6546b64U;
  }
  std::uint32_t rest = 0;
  for (std::size_t j = s.size(); j > i; --j) rest = rest << 8U | static_cast<unsigned char>(s[j - 1]);
  if (i < s.size()) h ^= scramble(rest);
  h ^= static_cast<std::uint32_t>(s.size());
  h = (h ^ h >> 16U) * 0x85ebca6bU;
  h = (h ^ h >> 13U) * 0xc2b2ae35U;
  return h ^ h >> 16U;
}

class Hashing : public Vectoriser {
 public:
  using Vectoriser::Vectoriser;
  std::uint32_t width = 1U << 20U;
  bool alternate = true;
  RowNorm norm = RowNorm::l2;

 protected:
  [[nodiscard]] Result<Frame> run(const Frame& in, std::span<const std::size_t> columns) const override {
    MR_TRY(const auto* texts, text_column(in, columns));
    Frame out;
    out.rows = in.rows;
    out.columns = width;
    out.f32 = f32;
    out.sparse = true;
    out.starts.push_back(0);
    Analyzer::Scratch scratch;
    std::vector<std::pair<std::uint32_t, double>> found;
    for (const auto& text : texts->values) {
      found.clear();
      analyzer.each_term(text, scratch, [&](std::string_view term) {
        const auto h = static_cast<std::int32_t>(murmur3(term));
        // The absolute value of the least number does not exist; the original goes round it like this.
        const std::uint32_t place =
            h == INT32_MIN ? (2147483647U - (width - 1)) % width : static_cast<std::uint32_t>(std::abs(h)) % width;
        found.emplace_back(place, alternate && h < 0 ? -1.0 : 1.0);
      });
      std::ranges::sort(found, {}, [](const auto& p) { return p.first; });
      const auto from = out.indices.size();
      for (const auto& [place, value] : found) {
        if (out.indices.size() > from && out.indices.back() == place) {
          out.values.back() += value;
        } else {
          out.indices.push_back(place);
          out.values.push_back(value);
        }
      }
      auto row = std::span(out.values).subspan(from);
      if (binary) std::ranges::fill(row, 1.0);
      normalise(row, norm, f32);
      out.starts.push_back(out.indices.size());
    }
    return out;
  }
};

Result<EstimatorPtr> make_hashing(Build& b, NodeId id) {
  MR_TRY(auto analyzer, Analyzer::read(b, id));
  auto v = std::make_unique<Hashing>(std::move(analyzer));
  double n = b.number_or(id, "n_features", 1 << 20);
  if (!(n >= 1 && n <= 2147483647.0) || n != std::floor(n)) return b.bad(id, "n_features is out of range");
  v->width = static_cast<std::uint32_t>(n);
  v->alternate = b.flag_or(id, "alternate_sign", true);
  v->binary = b.flag_or(id, "binary", false);
  MR_TRY(v->norm, norm_of(b, id, "l2"));
  v->f32 = is_float32(b.tree, b.tree.get(id, "dtype"));
  return v;
}

}  // namespace

void add_text(Makers& m) {
  m["sklearn*CountVectorizer"] = make_count;
  m["sklearn*TfidfVectorizer"] = make_tfidf;
  m["sklearn*TfidfTransformer"] = make_tfidf_transformer;
  m["sklearn*HashingVectorizer"] = make_hashing;
}

}  // namespace mr::serving

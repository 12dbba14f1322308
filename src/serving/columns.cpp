#include "serving/columns.h"

#include <cmath>
#include <limits>

#include "json/parse.h"
#include "json/writer.h"
#include "serving/number_text.h"
#include "serving/parts.h"
#include "serving/v2_request.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::serving {

using boost::json::value;

std::string FrameBuilder::rows(std::size_t n) {
  if (first_) {
    first_ = false;
    frame_.rows = n;
    frame_.data.resize(n * frame_.columns);
  }
  return n == frame_.rows ? std::string() : fmt::format("has {} rows and another one has {}", n, frame_.rows);
}

std::string FrameBuilder::add_numbers(std::size_t column, const std::vector<double>& values) {
  if (auto why = rows(values.size()); !why.empty()) return why;
  for (std::size_t r = 0; r < frame_.rows; ++r) frame_.data[r * frame_.columns + column] = values[r];
  return {};
}

std::string FrameBuilder::add_texts(std::size_t column, TextColumn texts) {
  if (auto why = rows(texts.values.size()); !why.empty()) return why;
  for (std::size_t r = 0; r < frame_.rows; ++r)
    frame_.data[r * frame_.columns + column] = std::numeric_limits<double>::quiet_NaN();
  frame_.texts.emplace(column, std::move(texts));
  return {};
}

void FrameBuilder::add_missing(std::size_t column, bool text) {
  frame_.absent.push_back(column);
  for (std::size_t r = 0; r < frame_.rows; ++r)
    frame_.data[r * frame_.columns + column] = std::numeric_limits<double>::quiet_NaN();
  if (!text) return;
  TextColumn none;
  none.values.resize(frame_.rows);
  none.missing.assign(frame_.rows, 1);
  frame_.texts.emplace(column, std::move(none));
}

Frame FrameBuilder::finish(std::vector<std::string> names, bool f32) {
  frame_.names = std::move(names);
  frame_.f32 = f32;
  return std::move(frame_);
}

std::string with_column_names(std::string text, const std::vector<std::string>& names) {
  auto at = text.find('#');
  if (at == std::string::npos) return text;
  auto end = std::min(text.find_first_not_of("0123456789", at + 1), text.size());
  auto index = text::to_u64(std::string_view(text).substr(at + 1, end - at - 1));
  if (!index || *index >= names.size()) return text;
  return text.substr(0, at) + "'" + printable(names[*index]) + "'" + text.substr(end);
}

Result<Output> run_engine(const Model& m, const Frame& frame) {
  auto began = time::mono_ns();
  auto output = m.loaded.engine->predict(frame);
  if (output) {
    auto ns = time::mono_ns() - began;
    m.traffic->engine_ran(frame.rows, ns);
    if (m.predict_seconds) m.predict_seconds->observe(static_cast<double>(ns) / 1e9);
  }
  return output;
}

bool reads_rows(const Model& m) {
  const auto& s = m.loaded.signature;
  if (!m.loaded.engine->scores()) return true;
  return !s.type_hint && !s.columns.empty() && std::ranges::all_of(s.columns, [](const Column& c) {
    return !c.name.empty() && (c.datatype != DataType::bytes || c.type == "string" || c.type == "datetime");
  });
}

Result<ScoringAnswer> score_raw(const Model& m, std::string_view content_type, std::string_view body) {
  auto began = time::mono_ns();
  auto answer = m.loaded.engine->score(content_type, body);
  if (answer && answer->status == 200) {
    auto ns = time::mono_ns() - began;
    m.traffic->engine_ran(1, ns);
    if (m.predict_seconds) m.predict_seconds->observe(static_cast<double>(ns) / 1e9);
  }
  return answer;
}

Refusal engine_refusal(const Error& e, const std::vector<std::string>& names) {
  return refusal(engine_status(e),
                 e.code == Code::invalid_argument ? with_column_names(e.message, names) : std::string(e.message));
}

bool is_datetime(std::string_view t) {
  auto digits = [&](std::size_t n) {
    if (t.size() < n) return false;
    for (std::size_t i = 0; i < n; ++i)
      if (t[i] < '0' || t[i] > '9') return false;
    t.remove_prefix(n);
    return true;
  };
  auto one = [&](std::string_view among) {
    if (t.empty() || among.find(t.front()) == std::string_view::npos) return false;
    t.remove_prefix(1);
    return true;
  };
  if (!digits(4) || !one("-") || !digits(2) || !one("-") || !digits(2)) return false;
  if (t.empty()) return true;
  if (!one("T ") || !digits(2)) return false;
  if (one(":") && !digits(2)) return false;
  if (one(":")) {
    if (!digits(2)) return false;
    if (one(".")) {
      std::size_t n = 0;
      for (; n < 9 && digits(1); ++n) {
      }
      if (n == 0) return false;
    }
  }
  if (t.empty() || t == "Z") return true;
  return one("+-") && digits(2) && (t.empty() || (one(":"), digits(2))) && t.empty();
}

namespace {

// A cell as Python would print it into a text column.
std::string cell_text(const value& v) {
  if (v.is_string()) return std::string(v.get_string());
  if (v.is_bool()) return v.get_bool() ? "True" : "False";
  if (v.is_double()) {
    std::string out;
    json::append_double(out, v.get_double());
    return out;
  }
  return json::serialize(v);
}

bool scalar(const value& v) { return !v.is_array() && !v.is_object(); }

// Texts that JSON parsers made of the literals NaN and Infinity count among the numbers.
std::optional<double> cell_number(const value& v) {
  switch (v.kind()) {
    case boost::json::kind::double_:
      return v.get_double();
    case boost::json::kind::int64:
      return static_cast<double>(v.get_int64());
    case boost::json::kind::uint64:
      return static_cast<double>(v.get_uint64());
    case boost::json::kind::bool_:
      return v.get_bool() ? 1.0 : 0.0;
    case boost::json::kind::null:
      return std::numeric_limits<double>::quiet_NaN();
    case boost::json::kind::string:
      return number_of_text(std::string_view(v.get_string()));
    default:
      return std::nullopt;
  }
}

std::string list_of(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& n : names) out += fmt::format("{}'{}'", out.empty() ? "" : ", ", printable(n));
  return out;
}

// Where each wanted column stands in the table; npos: absent.
constexpr auto kAbsent = static_cast<std::size_t>(-1);
Result<std::vector<std::size_t>> places(const Table& t, const std::vector<Column>& wanted, bool named) {
  std::vector<std::size_t> out(wanted.size(), kAbsent);
  if (!named) {
    if (t.columns.size() != wanted.size())
      return fail(Code::invalid_argument,
                  fmt::format("an instance has {} features, but the model is expecting {} features as input",
                              t.columns.size(), wanted.size()),
                  "schema");
    for (std::size_t i = 0; i < wanted.size(); ++i) out[i] = i;
    return out;
  }
  std::map<std::string_view, std::size_t> by_name;
  for (std::size_t i = 0; i < t.names.size(); ++i) by_name[t.names[i]] = i;
  std::vector<std::string> absent;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (auto it = by_name.find(wanted[i].name); it != by_name.end())
      out[i] = it->second;
    else if (wanted[i].required)
      absent.push_back(wanted[i].name);
  }
  if (!absent.empty())
    return fail(Code::invalid_argument, fmt::format("Model is missing inputs [{}].", list_of(absent)), "schema");
  return out;
}

std::unexpected<Error> bad_cell(std::string_view name, std::string_view what) {
  return fail(Code::invalid_argument, fmt::format("the column '{}' {}", printable(name), what), "cell");
}

using Cells = std::vector<const value*>;

Result<TextColumn> text_cells(const Cells& cells, const Column& c, CellRules rules) {
  TextColumn out;
  out.values.reserve(cells.size());
  out.missing.reserve(cells.size());
  for (const auto* v : cells) {
    bool missing = v == nullptr || v->is_null();
    out.missing.push_back(missing ? 1 : 0);
    if (missing) {
      out.values.emplace_back();
      continue;
    }
    if (!scalar(*v)) return bad_cell(c.name, "holds a list or an object where a text is wanted");
    auto t = cell_text(*v);
    if (c.type == "binary" && rules == CellRules::mlflow) {
      auto plain = text::base64_decode(t);
      if (!plain) return bad_cell(c.name, "holds a text that is not base64, and its type is binary");
      t = std::move(*plain);
    }
    if (c.type == "datetime" && !is_datetime(t))
      return bad_cell(c.name, "holds a text that is no date and time in ISO 8601 form");
    out.values.push_back(std::move(t));
  }
  return out;
}

Result<std::vector<double>> number_cells(const Cells& cells, const Column& c, CellRules rules) {
  std::vector<double> out;
  out.reserve(cells.size());
  const bool cast = rules == CellRules::mlflow;
  for (const auto* v : cells) {
    double d = std::numeric_limits<double>::quiet_NaN();
    if (v != nullptr && !(v->is_string() && v->get_string().empty() && cast)) {
      auto n = cell_number(*v);
      if (!n && c.datatype == DataType::boolean && v->is_string()) {  // of CSV
        std::string_view t(v->get_string());
        if (text::iequals(t, "true") || text::iequals(t, "false")) n = text::iequals(t, "true") ? 1 : 0;
      }
      if (!n)
        return bad_cell(c.name, scalar(*v) ? "holds a text that is no number"
                                           : "holds a list or an object where a number is wanted");
      d = *n;
    }
    if (cast && (c.datatype == DataType::int64 || c.datatype == DataType::int32)) {
      double bound = c.datatype == DataType::int32 ? 2147483648.0 : 9223372036854775808.0;
      if (!(d >= -bound && d < bound))
        return bad_cell(c.name,
                        fmt::format("holds a missing value or one that is out of the range of its type {}", c.type));
      d = std::trunc(d);
    }
    if (c.datatype == DataType::boolean && cast && !std::isnan(d)) d = d != 0 ? 1 : 0;
    if (c.datatype == DataType::fp32) d = static_cast<double>(static_cast<float>(d));
    out.push_back(d);
  }
  return out;
}

bool needs_text(const Cells& cells) {
  return std::any_of(cells.begin(), cells.end(), [](const value* v) {
    return v != nullptr && v->is_string() && !cell_number(*v) && !v->get_string().empty();
  });
}

}  // namespace

std::optional<std::pair<std::string, bool>> text_of_json(std::string_view t) {
  auto doc = json::parse(t);
  if (!doc || !scalar(*doc)) return std::nullopt;
  if (doc->is_null()) return std::pair{std::string(), true};
  return std::pair{cell_text(*doc), false};
}

namespace {

class TableReader {
 public:
  Result<Table> run(const boost::json::array& rows) {
    for (const auto& row : rows) {
      const auto* list = row.if_array();
      const auto* object = row.if_object();
      if (list != nullptr && list->size() == 1 && (*list)[0].is_object()) object = (*list)[0].if_object();
      if (object != nullptr)
        MR_CHECK(add_object(*object));
      else if (list != nullptr)
        MR_CHECK(add_list(*list));
      else if (row.is_string())
        MR_CHECK(add_cells(Cells{&row}));
      else
        return fail(Code::invalid_argument,
                    "Expected 2D array, got 1D array instead: each instance is a list of features or an object");
    }
    return std::move(t_);
  }

 private:
  Result<> kind(bool named) {
    if (t_.rows == 0)
      named_ = named;
    else if (named_ != named)
      return fail(Code::invalid_argument,
                  "some instances are objects and some are lists: instances have different lengths");
    return {};
  }
  Result<> room(std::size_t more) {
    taken_ += more;
    if (taken_ > kMaxValues) return fail(Code::invalid_argument, "the request has more values than are taken");
    return {};
  }
  Result<> add_cells(Cells cells) {
    MR_CHECK(kind(false));
    MR_CHECK(room(cells.size()));
    if (t_.rows == 0) t_.columns.resize(cells.size());
    if (cells.size() != t_.columns.size())
      return fail(Code::invalid_argument,
                  fmt::format("instances have different lengths: {} and {}", t_.columns.size(), cells.size()));
    for (std::size_t i = 0; i < cells.size(); ++i) t_.columns[i].push_back(cells[i]);
    ++t_.rows;
    return {};
  }
  Result<> add_list(const boost::json::array& row) {
    Cells cells;
    cells.reserve(row.size());
    for (const auto& v : row) cells.push_back(&v);
    return add_cells(std::move(cells));
  }
  Result<> add_object(const boost::json::object& row) {
    MR_CHECK(kind(true));
    std::size_t count = 1;
    bool lists = false;
    for (const auto& [k, v] : row)
      if (const auto* list = v.if_array()) {
        if (lists && list->size() != count)
          return fail(Code::invalid_argument, "the lists of an instance have different lengths");
        count = list->size();
        lists = true;
      }
    for (const auto& [k, v] : row) {
      auto [it, fresh] = place_.try_emplace(std::string(k), t_.columns.size());
      if (fresh) {
        MR_CHECK(room(t_.rows));
        t_.names.emplace_back(k);
        t_.columns.emplace_back(t_.rows, nullptr);
      }
      auto& column = t_.columns[it->second];
      column.resize(t_.rows);  // of a repeated key the last counts
      const auto* list = v.if_array();
      for (std::size_t r = 0; r < count; ++r) column.push_back(list != nullptr ? &(*list)[r] : &v);
    }
    t_.rows += count;
    MR_CHECK(room(count * t_.columns.size()));
    for (auto& c : t_.columns) c.resize(t_.rows, nullptr);
    return {};
  }

  Table t_;
  bool named_ = false;
  std::size_t taken_ = 0;
  std::map<std::string, std::size_t, std::less<>> place_;
};

}  // namespace

Result<Table> table_of_rows(const boost::json::array& rows) { return TableReader().run(rows); }

void append_predicted(std::string& out, const Output& o, bool python) {
  if (!o.parts.empty()) {
    auto single = [](const OutputPart& p) { return p.type == DataType::fp32; };
    if (!python || std::ranges::none_of(o.parts, single)) return append_predictions(out, o);
    auto wide = o;
    for (auto& p : wide.parts)
      if (single(p)) p.type = DataType::fp64;
    return append_predictions(out, wide);
  }
  const auto type = python && o.type == DataType::fp32 ? DataType::fp64 : o.type;
  const std::string_view comma = python ? ", " : ",";
  out += '[';
  for (std::size_t r = 0; r < o.rows; ++r) {
    if (r != 0) out += comma;
    if (o.width > 1) out += '[';
    for (std::size_t c = 0; c < o.width; ++c) {
      if (c != 0) out += comma;
      if (o.type == DataType::bytes)
        json::append_string(out, o.texts[r * o.width + c]);
      else
        append_number(out, type, o.numbers[r * o.width + c]);
    }
    if (o.width > 1) out += ']';
  }
  out += ']';
}

Result<Frame> frame_of_table(const Model& m, const Table& t, CellRules rules) {
  const auto& sig = m.loaded.signature;
  const auto& engine = *m.loaded.engine;
  std::vector<Column> wanted = sig.columns;
  bool named = !t.names.empty();
  const bool unnamed_signature =
      std::any_of(wanted.begin(), wanted.end(), [](const Column& c) { return c.name.empty(); });
  if (unnamed_signature) named = false;
  if (!wanted.empty() && !named && !unnamed_signature && rules == CellRules::mlflow) {
    std::vector<std::string> names;
    for (const auto& c : wanted)
      if (c.required) names.push_back(c.name);
    return fail(
        Code::invalid_argument,
        fmt::format("Model is missing inputs [{}]. Its columns have names, and the data has none", list_of(names)),
        "schema");
  }
  if (wanted.empty()) {
    // A tensor, or no signature: what the model was fitted with, else the columns as they come.
    auto type = sig.tensor ? sig.tensor_type : DataType::fp64;
    const auto& fitted = engine.feature_names();
    if (named && !fitted.empty())
      for (const auto& n : fitted) wanted.push_back({n, "", type, true});
    else
      for (std::size_t i = 0; i < t.columns.size(); ++i)
        wanted.push_back({named ? t.names[i] : i < fitted.size() ? fitted[i] : std::string(), "", type, true});
    if (engine.features() != 0 && wanted.size() != engine.features())
      return fail(Code::invalid_argument,
                  fmt::format("an instance has {} features, but the model is expecting {} features as input",
                              wanted.size(), engine.features()),
                  "schema");
  }
  MR_TRY(auto at, places(t, wanted, named));
  FrameBuilder f(wanted.size());
  bool all_f32 = true;
  std::vector<std::size_t> optional;
  std::vector<std::string> names;
  bool have_names = !unnamed_signature;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    auto c = wanted[i];
    have_names = have_names && !c.name.empty();
    if (c.name.empty()) c.name = fmt::format("{}", i);
    names.push_back(c.name);
    if (at[i] == kAbsent) {
      optional.push_back(i);
      continue;
    }
    const auto& cells = t.columns[at[i]];
    bool text = !sig.columns.empty() || sig.tensor ? c.datatype == DataType::bytes : needs_text(cells);
    std::string why;
    if (text) {
      MR_TRY(auto texts, text_cells(cells, c, rules));
      all_f32 = false;
      why = f.add_texts(i, std::move(texts));
    } else {
      MR_TRY(auto values, number_cells(cells, c, rules));
      all_f32 = all_f32 && c.datatype == DataType::fp32;
      why = f.add_numbers(i, values);
    }
    if (!why.empty()) return bad_cell(c.name, why);
  }
  for (auto i : optional) f.add_missing(i, wanted[i].datatype == DataType::bytes);
  return f.finish(have_names ? std::move(names) : std::vector<std::string>{},
                  all_f32 && !wanted.empty() && optional.empty());
}

}  // namespace mr::serving

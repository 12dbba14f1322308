#include "serving/check.h"

#include <cmath>

#include "json/parse.h"
#include "log/log.h"
#include "serving/columns.h"
#include "serving/model_info.h"

namespace mr::serving {

namespace {

using boost::json::value;

constexpr std::size_t kExampleLimit = 16U << 20;
constexpr int kShownRows = 3;

std::unexpected<Error> no_example(std::string_view why) {
  return fail(Code::invalid_argument, fmt::format("the input example cannot be read: {}", why));
}

// {"columns": [...], "data": [[...], ...]}
Result<Table> table_of_split(const value& v) {
  const auto* columns = json::find(v, "columns");
  const auto* data = json::find(v, "data");
  if (data == nullptr || !data->is_array()) return no_example("it has no rows");
  if (columns == nullptr || !columns->is_array()) return table_of_rows(data->get_array());
  Table t;
  for (const auto& c : columns->get_array()) {
    if (c.is_string())
      t.names.emplace_back(c.get_string());
    else
      t.names.push_back(json::serialize(c));
  }
  t.columns.resize(t.names.size());
  t.rows = data->get_array().size();
  for (const auto& row : data->get_array()) {
    if (!row.is_array() || row.get_array().size() != t.names.size())
      return no_example("its rows are of different widths");
    for (std::size_t c = 0; c < t.names.size(); ++c) t.columns[c].push_back(&row.get_array()[c]);
  }
  // Columns without names are numbered.
  bool numbered = true;
  for (std::size_t c = 0; c < t.names.size(); ++c) numbered = numbered && t.names[c] == std::to_string(c);
  if (numbered) t.names.clear();
  return t;
}

// {"a": [1, 2], "b": [3, 4]}, or scalars for one row.
Result<Table> table_of_columns(const boost::json::object& o) {
  Table t;
  t.rows = 1;
  bool first = true;
  for (const auto& [name, v] : o) {
    t.names.emplace_back(name);
    t.columns.emplace_back();
    std::size_t n = 1;
    if (const auto* list = v.if_array()) {
      n = list->size();
      for (const auto& cell : *list) t.columns.back().push_back(&cell);
    } else {
      t.columns.back().push_back(&v);
    }
    if (!first && n != t.rows) return no_example("its columns are of different lengths");
    t.rows = n;
    first = false;
  }
  return t;
}

// A tensor of any number of dimensions.
bool flatten(const value& v, std::size_t depth, std::vector<std::int64_t>& shape, std::vector<double>& out) {
  if (const auto* list = v.if_array()) {
    if (depth >= 32) return false;
    if (shape.size() == depth)
      shape.push_back(static_cast<std::int64_t>(list->size()));
    else if (shape.size() < depth || shape[depth] != static_cast<std::int64_t>(list->size()))
      return false;
    return std::ranges::all_of(*list, [&](const value& item) { return flatten(item, depth + 1, shape, out); });
  }
  if (depth != shape.size()) return false;
  if (v.is_double())
    out.push_back(v.get_double());
  else if (v.is_int64())
    out.push_back(static_cast<double>(v.get_int64()));
  else if (v.is_bool())
    out.push_back(v.get_bool() ? 1 : 0);
  else if (v.is_null() || v == value("NaN"))
    out.push_back(std::nan(""));
  else
    return false;
  return true;
}

Result<Frame> frame_of_list(const Model& m, const value& v) {
  const auto& sig = m.loaded.signature;
  if (m.loaded.engine->remote() && sig.columns.empty()) {
    Frame f;
    std::vector<std::int64_t> shape;
    if (flatten(v, 0, shape, f.data) && !shape.empty()) {
      f.rows = static_cast<std::size_t>(shape[0]);
      f.columns = f.rows == 0 ? 0 : f.data.size() / f.rows;
      f.shape = std::move(shape);
      f.types.assign(1, sig.tensor ? sig.tensor_type : DataType::fp64);
      return f;
    }
  }
  MR_TRY(auto t, table_of_rows(v.get_array()));
  return frame_of_table(m, t, CellRules::mlflow);
}

class Comparison {
 public:
  explicit Comparison(double within) : within_(within) {}
  // `where`: "row 3, column x" as far as it is known.
  void compare(const value& a, const value& b, const std::string& where) {
    if (count_ > 1'000'000) return;
    double x = 0, y = 0;
    if (number(a, x) && number(b, y)) {
      if (!close(x, y)) note(where, a, b);
      return;
    }
    if (a.is_array() && b.is_array()) {
      const auto& p = a.get_array();
      const auto& q = b.get_array();
      if (p.size() != q.size()) {
        note(where, value(fmt::format("{} values", p.size())), value(fmt::format("{} values", q.size())));
        return;
      }
      for (std::size_t i = 0; i < p.size(); ++i)
        compare(p[i], q[i], where.empty() ? fmt::format("row {}", i) : fmt::format("{}, {}", where, i));
      return;
    }
    // A column is a list of values or a list of lists of one.
    if (a.is_array() && a.get_array().size() == 1) return compare(a.get_array()[0], b, where);
    if (b.is_array() && b.get_array().size() == 1) return compare(a, b.get_array()[0], where);
    if (a.is_object() && b.is_object()) {
      for (const auto& [k, v] : b.get_object()) {
        auto here = where.empty() ? printable(k) : fmt::format("{}, {}", where, printable(k));
        if (const auto* mine = a.get_object().if_contains(k))
          compare(*mine, v, here);
        else
          note(here, value("nothing"), v);
      }
      for (const auto& [k, v] : a.get_object())
        if (!b.get_object().contains(k)) note(fmt::format("{}, {}", where, printable(k)), v, value("nothing"));
      return;
    }
    if (a != b) note(where, a, b);
  }
  [[nodiscard]] std::string text() const {
    if (count_ == 0) return {};
    return fmt::format("{} value{} differ{}: {}{}", count_, count_ == 1 ? "" : "s", count_ == 1 ? "s" : "", shown_,
                       count_ > kShownRows ? ", ..." : "");
  }

 private:
  static bool number(const value& v, double& out) {
    if (v.is_double())
      out = v.get_double();
    else if (v.is_int64())
      out = static_cast<double>(v.get_int64());
    else if (v.is_uint64())
      out = static_cast<double>(v.get_uint64());
    else if (v.is_bool())
      out = v.get_bool() ? 1 : 0;
    else if (v.is_null() || v == value("NaN"))
      out = std::nan("");
    else
      return false;
    return true;
  }
  [[nodiscard]] bool close(double x, double y) const {
    if (std::isnan(x) || std::isnan(y)) return std::isnan(x) && std::isnan(y);
    return x == y || std::fabs(x - y) <= within_ * std::max(1.0, std::max(std::fabs(x), std::fabs(y)));
  }
  void note(const std::string& where, const value& a, const value& b) {
    if (++count_ > kShownRows) return;
    if (!shown_.empty()) shown_ += "; ";
    shown_ += fmt::format("{}: {} here, {} expected", where.empty() ? std::string("the answer") : where,
                          printable(json::serialize(a)), printable(json::serialize(b)));
  }
  double within_;
  std::int64_t count_ = 0;
  std::string shown_;
};

Result<value> predictions(const Engine& engine, const Frame& frame) {
  MR_TRY(auto output, engine.predict(frame));
  std::string text;
  append_predicted(text, output, false);
  return json::parse(text);
}

// By the model's own library.
Result<value> predictions_there(const Model& m, const value& example) {
  // MLflow leaves out columns that have no names of their own.
  const bool split = json::find(example, "data") != nullptr &&
                     (json::find(example, "columns") != nullptr || example.get_object().size() == 1);
  auto text = json::serialize(example);
  MR_TRY(auto answer, m.loaded.engine->score("application/json", split ? R"({"dataframe_split":)" + text + "}" : text));
  auto body = json::parse(answer.body);
  if (answer.status != 200) {
    auto said = body ? std::string(json::string_or_empty(*body, "message")) : answer.body;
    // The model failed, or the example is none in a form that it is asked in.
    const bool failed = answer.status >= 500 || said.starts_with("Encountered an unexpected error");
    return fail(failed ? Code::internal : Code::invalid_argument, std::move(said));
  }
  if (!body) return std::unexpected(body.error());
  const auto* inner = json::find(*body, "predictions");
  return inner != nullptr ? *inner : *body;
}

double tolerance(const Model& m) {
  bool single = m.loaded.signature.tensor && m.loaded.signature.tensor_type == DataType::fp32;
  for (const auto& c : m.loaded.signature.columns) single = single || c.datatype == DataType::fp32;
  for (const auto& o : m.loaded.signature.outputs) single = single || o.type == DataType::fp32;
  return single ? 1e-5 : 1e-6;
}

}  // namespace

Result<Frame> frame_of_document(const Model& m, const value& v) {
  if (v.is_array()) return frame_of_list(m, v);
  if (!v.is_object()) return no_example("it is neither an object nor a list");
  if (const auto* split = json::find(v, "dataframe_split")) {
    MR_TRY(auto t, table_of_split(*split));
    return frame_of_table(m, t, CellRules::mlflow);
  }
  if (json::find(v, "data") != nullptr && json::find(v, "columns") != nullptr) {
    MR_TRY(auto t, table_of_split(v));
    return frame_of_table(m, t, CellRules::mlflow);
  }
  for (const char* key : {"dataframe_records", "instances", "inputs"})
    if (const auto* rows = json::find(v, key)) {
      if (rows->is_array()) return frame_of_list(m, *rows);
      if (!rows->is_object()) return no_example(fmt::format("its {} are neither rows nor columns", key));
      MR_TRY(auto t, table_of_columns(rows->get_object()));
      return frame_of_table(m, t, CellRules::mlflow);
    }
  MR_TRY(auto t, table_of_columns(v.get_object()));
  return frame_of_table(m, t, CellRules::mlflow);
}

std::string differences(const value& here, const value& there, double within) {
  Comparison c(within);
  c.compare(here, there, "");
  return c.text();
}

Result<> check_model(const Model& m, const LoadOptions& options) {
  if (options.check == CheckMode::off) return {};
  const bool strict = options.check == CheckMode::strict;
  // What cannot be checked is in the way of a strict check only.
  auto unchecked = [&](std::string_view why) -> Result<> {
    if (strict) return fail(Code::failed_precondition, fmt::format("the model cannot be checked: {}", why));
    if (options.log) options.log(fmt::format("not checked: {}", why));
    return {};
  };
  auto info = read_model_info(m.path);
  if (!info) return strict ? unchecked("it is no MLflow model folder") : Result<>{};
  auto file = info->serving_example.empty() ? info->example : info->serving_example;
  if (file.empty()) return strict ? unchecked("no input example was logged with it") : Result<>{};
  auto text = read_model_text(m.path, file, kExampleLimit);
  if (!text && file != info->example && !info->example.empty())
    text = read_model_text(m.path, info->example, kExampleLimit);
  if (!text) return unchecked(text.error().message);
  auto document = json::parse(*text);
  if (!document) return unchecked(fmt::format("{} is no valid JSON", printable(file)));
  Frame frame;
  auto here = [&]() -> Result<value> {
    if (!reads_rows(m)) return predictions_there(m, *document);
    MR_TRY(frame, frame_of_document(m, *document));
    return predictions(*m.loaded.engine, frame);
  }();
  if (!here && frame.rows == 0 && frame.tensors.empty() && reads_rows(m)) return unchecked(here.error().message);
  if (!here && !reads_rows(m) && here.error().code == Code::invalid_argument) return unchecked(here.error().message);
  if (!here)
    return fail(Code::data_loss,
                fmt::format("the model's logged input example cannot be computed: {}", here.error().message));
  bool compared = false;
  if (auto stored = read_model_text(m.path, std::string(kExpectedFile), kExampleLimit)) {
    auto expected = json::parse(*stored);
    if (!expected) return fail(Code::data_loss, fmt::format("{} is no valid JSON", kExpectedFile));
    const auto* inner = json::find(*expected, "predictions");
    if (auto d = differences(*here, inner != nullptr ? *inner : *expected, tolerance(m)); !d.empty())
      return fail(Code::data_loss, fmt::format("the model's input example does not give its {}: {}", kExpectedFile, d));
    compared = true;
  }
  if (m.loaded.engine->original()) return {};
  if (options.python) {
    auto environment = options.python->environment(m.path);
    if (environment && (environment->cached || (strict && !compared))) {
      auto original = options.python->start({m.path, m.loaded.signature, options.log, options.env, options.memory, 1});
      if (!original) return unchecked(original.error().message);
      auto there = predictions(**original, frame);
      if (!there) return unchecked("the original library refuses the input example: " + there.error().message);
      if (auto d = differences(*here, *there, tolerance(m)); !d.empty())
        return fail(Code::data_loss,
                    fmt::format("the native engine does not answer as the model's own library does: {}", d));
      compared = true;
    }
  }
  if (!compared && strict) return unchecked("there is neither a stored output nor an environment to compare with");
  if (compared && options.log) options.log("checked: its input example gives what is expected");
  return {};
}

}  // namespace mr::serving

#include "serving/scoring.h"

#include "json/parse.h"
#include "json/writer.h"
#include "serving/columns.h"
#include "serving/csv.h"
#include "serving/exchange.h"
#include "text/text.h"

namespace mr::serving {

namespace {

using boost::json::value;
using ScoreReply = task::Task<http::Response>;

// MLflow's release whose protocol this is.
constexpr std::string_view kMlflowVersion = "3.18.0";
// A body that the model's library reads, and that is larger, is not parsed here first.
constexpr std::size_t kCheckedHere = 1U << 20;
constexpr std::string_view kFields = "{'dataframe_records', 'dataframe_split', 'inputs', 'instances'}";

Scored mlflow_error(int status, std::string_view code, std::string_view message, std::string_view sqlstate,
                    std::string_view error_class) {
  Scored s{.status = status, .body = R"({"error_code": )"};
  json::append_string_ascii(s.body, code);
  s.body += R"(, "message": )";
  json::append_string_ascii(s.body, message);
  if (!sqlstate.empty()) s.body += fmt::format(R"(, "sqlstate": "{}", "error_class": "{}")", sqlstate, error_class);
  s.body += '}';
  return s;
}
Scored bad_request(std::string_view message) {
  return mlflow_error(400, "BAD_REQUEST", message, "KAM00", "INVALID_PARAMETER_VALUE");
}
Scored invalid_input(std::string_view message) { return bad_request(fmt::format("Invalid input. {}", message)); }
Scored unsupported(std::string text) { return {415, std::move(text), "text/plain; charset=utf-8"}; }

std::string schema_text(const Signature& s) {
  std::string out;
  for (const auto& c : s.columns)
    out += fmt::format("{}{}{} ({})", out.empty() ? "" : ", ",
                       c.name.empty() ? std::string() : fmt::format("'{}': ", printable(c.name)), c.type,
                       c.required ? "required" : "optional");
  if (s.tensor) out = fmt::format("Tensor('{}')", s.tensor_dtype);
  return "[" + out + "]";
}

// What frame_of_table says, as mlflow words it.
Scored refused_table(const Model& m, const Error& e) {
  if (e.reason == "schema" && m.loaded.signature.present)
    return mlflow_error(400, "INVALID_PARAMETER_VALUE",
                        fmt::format("Failed to predict data. \nError: Failed to enforce schema of data with schema "
                                    "'{}'. Error: {}",
                                    schema_text(m.loaded.signature), e.message),
                        "KAM01", "SCHEMA_ENFORCEMENT_FAILED");
  if (e.reason == "cell")
    return invalid_input("Data is not compatible with model signature. Failed to convert: " + e.message);
  return invalid_input(e.message);
}

Scored engine_error(const Error& e, const std::vector<std::string>& names) {
  switch (e.code) {
    case Code::resource_exhausted:
      return mlflow_error(429, "RESOURCE_EXHAUSTED", e.message, {}, {});
    case Code::unavailable:
      return mlflow_error(503, "TEMPORARILY_UNAVAILABLE", e.message, {}, {});
    case Code::deadline_exceeded:
      return {504, "Request processing time exceeded limit", "application/json"};
    default:
      if (e.reason == "worker") return mlflow_error(500, "INTERNAL_ERROR", e.message, {}, {});
      return bad_request(
          fmt::format("Encountered an unexpected error while evaluating the model. Verify that the serialized input "
                      "Dataframe is compatible with the model for inference. ({})",
                      e.code == Code::invalid_argument ? with_column_names(e.message, names) : e.message));
  }
}

// By the model's own library.
Scored score_there(const Model& m, std::string_view content_type, std::string_view body) {
  auto scored = score_raw(m, content_type, body);
  if (!scored) return engine_error(scored.error(), {});
  return {scored->status, std::move(scored->body), scored->json ? "application/json" : "text/plain; charset=utf-8"};
}

// What a text that is not there becomes depends on the form it came in, and on the release of pandas.
bool missing_texts(const Frame& f) {
  return std::ranges::any_of(f.texts, [](const auto& t) {
    return std::ranges::any_of(t.second.missing, [](std::uint8_t m) { return m != 0; });
  });
}

struct Asked {
  std::string_view type, body;
};

Scored answer(const Model& m, Result<Frame> frame, std::string params, Asked asked) {
  if (m.loaded.engine->scores() && (!frame || missing_texts(*frame))) return score_there(m, asked.type, asked.body);
  if (!frame) return refused_table(m, frame.error());
  if (m.loaded.engine->remote()) frame->params = std::move(params);
  auto output = run_engine(m, *frame);
  if (!output) {
    auto names = frame->names;
    if (names.empty()) names = m.loaded.engine->feature_names();
    return engine_error(output.error(), names);
  }
  Scored s{.body = R"({"predictions": )"};
  append_predicted(s.body, *output, true);
  s.body += '}';
  return s;
}

// {"columns": …, "data": …, "index": …}
Result<Table> split_table(const value& v) {
  auto not_a_frame = [](std::string_view why) {
    return fail(Code::invalid_argument, fmt::format("Provided dataframe_split field is not a valid dataframe "
                                                    "representation in 'split' format. Error: '{}'",
                                                    why));
  };
  if (!v.is_object())
    return fail(Code::invalid_argument, fmt::format("Dataframe split format must be a dictionary. Got {}.",
                                                    v.is_array() ? "list" : "a scalar"));
  const auto& o = v.get_object();
  bool known = o.contains("data");
  for (const auto& [k, _] : o) known = known && (k == "data" || k == "columns" || k == "index");
  if (!known)
    return fail(Code::invalid_argument,
                "Dataframe split format must have 'data' field and optionally 'columns' and 'index' fields.");
  const auto* rows = o.at("data").if_array();
  if (rows == nullptr) return not_a_frame("data is no list");
  Table t;
  std::vector<std::string> names;
  const auto* columns = json::find(v, "columns");
  const bool named = columns != nullptr && !columns->is_null();
  if (named) {
    if (!columns->is_array()) return not_a_frame("columns is no list");
    for (const auto& c : columns->get_array())
      names.emplace_back(c.is_string() ? std::string(c.get_string()) : json::serialize(c));
  }
  // A list of scalars is one column.
  if (rows->empty()) {
    t.columns.resize(names.size());
  } else if (!rows->front().is_array() && !rows->front().is_object()) {
    t.columns.resize(1);
    for (const auto& r : *rows) t.columns[0].push_back(&r);
    t.rows = rows->size();
  } else {
    auto read = table_of_rows(*rows);
    if (!read) return not_a_frame(read.error().message);
    t = std::move(*read);
  }
  if (named && t.columns.size() != names.size())
    return not_a_frame(fmt::format("{} columns passed, passed data had {} columns", names.size(), t.columns.size()));
  const auto* index = json::find(v, "index");
  if (index != nullptr && !index->is_null() && (!index->is_array() || index->get_array().size() != t.rows))
    return not_a_frame("the index does not have one label a row");
  if (named) t.names = std::move(names);
  return t;
}

// An object of columns, or a tensor as nested lists.
Result<Table> inputs_table(const Model& m, const value& v) {
  Table t;
  if (const auto* o = v.if_object()) {
    bool first = true;
    for (const auto& [k, cells] : *o) {
      t.names.emplace_back(k);
      auto& column = t.columns.emplace_back();
      if (const auto* list = cells.if_array())
        for (const auto& c : *list) {
          // [[1], [2]] is a column too.
          const auto* inner = c.if_array();
          column.push_back(inner != nullptr && inner->size() == 1 ? &(*inner)[0] : &c);
        }
      else
        column.push_back(&cells);
      if (first)
        t.rows = column.size();
      else if (column.size() != t.rows)
        return fail(Code::invalid_argument, "The length of values for each input/column name are not the same");
      first = false;
    }
    return t;
  }
  const auto* list = v.if_array();
  if (list == nullptr) {
    t.columns.push_back({&v});
    t.rows = 1;
  } else if (!list->empty() && !list->front().is_array() && !list->front().is_object()) {
    t.columns.resize(1);
    for (const auto& c : *list) {
      if (c.is_array() || c.is_object()) return fail(Code::invalid_argument, "the rows have different lengths");
      t.columns[0].push_back(&c);
    }
    t.rows = list->size();
  } else {
    MR_TRY(t, table_of_rows(*list));
  }
  // Data without names belongs to the one column of a model that has one.
  const auto& columns = m.loaded.signature.columns;
  if (t.names.empty() && t.columns.size() == 1 && columns.size() == 1) t.names.push_back(columns[0].name);
  return t;
}

Result<Table> json_table(const Model& m, std::string_view field, const value& v) {
  if (field == "dataframe_split") return split_table(v);
  if (field == "dataframe_records") {
    const auto* rows = v.if_array();
    if (rows == nullptr)
      return fail(Code::invalid_argument, fmt::format("Dataframe records format must be a list of records. Got {}.",
                                                      v.is_object() ? "dictionary" : "a scalar"));
    for (const auto& r : *rows)
      if (r.is_object())
        for (const auto& [k, cell] : r.get_object())
          if (cell.is_array()) return fail(Code::invalid_argument, "a record holds a list where a scalar is wanted");
    return table_of_rows(*rows);
  }
  if (field == "instances" && v.is_array() && !v.get_array().empty() && v.get_array().front().is_object())
    return table_of_rows(v.get_array());
  return inputs_table(m, v);
}

Scored score_json(const Model& m, std::string_view body) {
  constexpr std::string_view kJson = "application/json";
  const bool there = !reads_rows(m);
  if (there && body.size() > kCheckedHere) return score_there(m, kJson, body);
  auto doc = json::parse(body);
  if (!doc) return invalid_input("Ensure that input is a valid JSON formatted string.");
  if (!doc->is_object())
    return invalid_input(
        fmt::format("The input must be a JSON dictionary with exactly one of the input fields {}. Received {}.",
                    kFields, doc->is_array() ? "a list" : "an unexpected input type"));
  std::vector<std::string> given;
  for (const auto& [k, _] : doc->get_object())
    if (k == "dataframe_split" || k == "dataframe_records" || k == "instances" || k == "inputs") given.emplace_back(k);
  if (there || (given.size() != 1 && m.loaded.engine->scores())) return score_there(m, kJson, body);
  if (given.size() != 1) {
    std::string list;
    for (const auto& g : given) list += fmt::format("{}'{}'", list.empty() ? "" : ", ", g);
    return bad_request(
        fmt::format("The input must be a JSON dictionary with exactly one of the input fields {}. Received dictionary "
                    "with input fields: [{}]. (The protocol of MLflow before 2.0 is not spoken.)",
                    kFields, list));
  }
  std::string params;
  if (const auto* p = json::find(*doc, "params"); p != nullptr && p->is_object()) params = json::serialize(*p);
  auto table = json_table(m, given[0], doc->at(given[0]));
  if (!table && m.loaded.engine->scores()) return score_there(m, kJson, body);
  if (!table) return invalid_input(table.error().message);
  return answer(m, frame_of_table(m, *table, CellRules::mlflow), std::move(params), {kJson, body});
}

Scored score_csv(const Model& m, std::string_view body) {
  if (!text::utf8_valid(body)) return invalid_input("Ensure that input is a valid UTF-8 encoded string.");
  constexpr std::string_view kCsv = "text/csv";
  const auto& columns = m.loaded.signature.columns;
  const bool texts = std::ranges::any_of(columns, [](const Column& c) { return c.datatype == DataType::bytes; });
  if (m.loaded.engine->scores() && (texts || !reads_rows(m))) return score_there(m, kCsv, body);
  auto csv = read_csv(body);
  if (!csv && m.loaded.engine->scores()) return score_there(m, kCsv, body);
  if (!csv)
    return bad_request(fmt::format(
        "Failed to parse input as a Pandas DataFrame. Ensure that the input is a valid CSV-formatted Pandas "
        "DataFrame produced using the `pandas.DataFrame.to_csv()` method. Error: '{}'",
        csv.error().message));
  return answer(m, frame_of_table(m, csv->table, CellRules::mlflow), {}, {kCsv, body});
}

http::Response response(Scored s) {
  auto r = http::Response::text(s.status, std::move(s.body), s.content_type);
  if (s.status == 429) r.headers.add("Retry-After", "1");
  return r;
}

ScoreReply run_score(Repository& repo, http::Request& rq) {
  auto [name, version] = repo.last();
  if (name.empty()) co_return response(mlflow_error(404, "RESOURCE_DOES_NOT_EXIST", "no model is loaded", {}, {}));
  auto found = co_await repo.get(name, version);
  if (!found)
    co_return response(
        mlflow_error(engine_status(found.error()), "TEMPORARILY_UNAVAILABLE", found.error().message, {}, {}));
  auto model = *found;
  Counted counted(model);
  auto body = co_await http::read_all(rq, kBodyLimit);
  if (!body) {
    int status = body.error().code == Code::too_large ? 413 : body.error().code == Code::unsupported ? 415 : 400;
    co_return response(mlflow_error(status, "BAD_REQUEST", body.error().message, {}, {}));
  }
  auto type = std::string(rq.headers.get("Content-Type"));
  auto scored = co_await compute(
      model, body->size(), [&] { return score(*model, type, *body); },
      [&] { return order_of(rq.headers.get("Priority"), {}); });
  if (!scored && scored.error().status == 504)
    co_return response({504, "Request processing time exceeded limit", "application/json"});
  if (!scored)
    co_return response(
        mlflow_error(429, "RESOURCE_EXHAUSTED", "too many requests are waiting; try again later", {}, {}));
  if (scored->status == 200) counted.answered();
  co_return response(std::move(*scored));
}

}  // namespace

Scored score(const Model& m, std::string_view content_type, std::string_view body) {
  auto parts = text::split(content_type, ';');
  auto mime = parts.empty() ? std::string_view() : text::trim(parts[0]);
  for (std::size_t i = 1; i < parts.size(); ++i) {
    auto p = text::trim(parts[i]);
    auto eq = p.find('=');
    auto key = p.substr(0, eq);
    auto v = eq == std::string_view::npos ? std::string_view() : p.substr(eq + 1);
    if (key == "charset") {
      if (!text::iequals(v, "utf-8")) return unsupported("The scoring server only supports UTF-8");
    } else if (!p.empty()) {
      return unsupported(fmt::format("Unrecognized content type parameters: {}.", printable(key)));
    }
  }
  if (mime.empty() || mime == "application/json") return score_json(m, body);
  if (mime == "text/csv") return score_csv(m, body);
  return unsupported(
      fmt::format("This predictor only supports the following content types: Types: ['text/csv', 'application/json']. "
                  "Got '{}'.",
                  printable(content_type)));
}

void add_scoring_routes(http::Router& router, Repository& repo) {
  for (const char* path : {"/ping", "/health"})
    router.add(http::Method::get, path, [&repo](http::Request&) -> ScoreReply {
      co_return http::Response::json(repo.last().first.empty() ? 404 : 200, "\n");
    });
  router.add(http::Method::get, "/version",
             [](http::Request&) -> ScoreReply { co_return http::Response::json(200, std::string(kMlflowVersion)); });
  router.add(http::Method::post, "/invocations",
             [&repo](http::Request& rq) -> ScoreReply { return run_score(repo, rq); });
}

}  // namespace mr::serving

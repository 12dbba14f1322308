#include "serving/v1.h"

#include <cmath>
#include <limits>

#include "json/parse.h"
#include "json/writer.h"
#include "serving/exchange.h"
#include "serving/number_text.h"
#include "text/text.h"
#include "time/clock.h"

namespace mr::serving {

namespace {

using http::Method;
using Reply = task::Task<http::Response>;
using boost::json::value;
template <class T>
using Checked = std::expected<T, Refusal>;

constexpr std::size_t kMaxValues = 67'108'864;

std::unexpected<Refusal> bad(std::string_view text) { return std::unexpected(refusal(400, text)); }

// One cell of an instance as a number; texts that read as numbers count, as numpy takes them.
Checked<double> number(const value& v, std::string_view column) {
  if (v.is_double()) return v.get_double();
  if (v.is_int64()) return static_cast<double>(v.get_int64());
  if (v.is_uint64()) return static_cast<double>(v.get_uint64());
  if (v.is_bool()) return v.get_bool() ? 1.0 : 0.0;
  if (v.is_null()) return std::numeric_limits<double>::quiet_NaN();
  if (v.is_string()) {
    std::string_view t(v.get_string());
    if (t == "NaN") return std::numeric_limits<double>::quiet_NaN();
    if (t == "Infinity") return std::numeric_limits<double>::infinity();
    if (t == "-Infinity") return -std::numeric_limits<double>::infinity();
    if (auto d = text::to_double(text::trim(t))) return *d;
    return bad(fmt::format("a text of {} is no number", column));
  }
  return bad(fmt::format("{} holds a list or an object where a number is wanted", column));
}

// The names that rows given as objects are ordered by, or empty.
std::vector<std::string> column_names(const Model& m) {
  std::vector<std::string> names;
  for (const auto& c : m.loaded.signature.columns) names.push_back(c.name);
  if (names.empty()) names = m.loaded.engine->feature_names();
  return names;
}

// An object is one row of scalars, or several rows given as lists of one length.
Checked<bool> add_object(const boost::json::object& row, std::vector<std::string>& names, Frame& f) {
  if (names.empty())  // the first object says the order
    for (const auto& [k, _] : row) names.emplace_back(k);
  if (f.rows == 0) f.columns = names.size();
  // Objects may follow lists: all rows have one width.
  if (names.size() != f.columns)
    return bad(fmt::format("instances have different lengths: {} and {}", f.columns, names.size()));
  std::vector<const value*> cells;
  std::string absent;
  for (const auto& n : names) {
    cells.push_back(row.if_contains(n));
    if (cells.back() == nullptr) absent += fmt::format("{}'{}'", absent.empty() ? "" : ", ", printable(n));
  }
  if (!absent.empty()) return bad(fmt::format("an instance is missing [{}]", absent));
  std::size_t count = 1;
  for (std::size_t i = 0; i < cells.size(); ++i)
    if (const auto* list = cells[i]->if_array()) {
      if (count != 1 && list->size() != count) return bad("the lists of an instance have different lengths");
      count = list->size();
    }
  if (f.data.size() + count * f.columns > kMaxValues) return bad("the request has more values than are taken");
  for (std::size_t r = 0; r < count; ++r)
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const auto* list = cells[i]->if_array();
      if (list != nullptr && r >= list->size()) return bad("the lists of an instance have different lengths");
      auto v = number(list != nullptr ? (*list)[r] : *cells[i], fmt::format("'{}'", printable(names[i])));
      if (!v) return std::unexpected(v.error());
      f.data.push_back(*v);
    }
  f.rows += count;
  return true;
}

Checked<bool> add_list(const boost::json::array& row, Frame& f) {
  if (f.rows == 0) f.columns = row.size();
  if (row.size() != f.columns)
    return bad(fmt::format("instances have different lengths: {} and {}", f.columns, row.size()));
  if (f.data.size() + row.size() > kMaxValues) return bad("the request has more values than are taken");
  for (std::size_t i = 0; i < row.size(); ++i) {
    auto v = number(row[i], fmt::format("column {}", i));
    if (!v) return std::unexpected(v.error());
    f.data.push_back(*v);
  }
  ++f.rows;
  return true;
}

Checked<Frame> frame_of(const Model& m, const boost::json::array& rows) {
  Frame f;
  auto names = column_names(m);
  for (const auto& row : rows) {
    Checked<bool> ok = true;
    if (const auto* o = row.if_object())
      ok = add_object(*o, names, f);
    else if (const auto* a = row.if_array(); a != nullptr && a->size() == 1 && (*a)[0].is_object())
      ok = add_object((*a)[0].get_object(), names, f);
    else if (a != nullptr)
      ok = add_list(*a, f);
    else
      ok = bad("Expected 2D array, got 1D array instead: each instance is a list of features or an object");
    if (!ok) return std::unexpected(ok.error());
  }
  return f;
}

std::string render(const Output& o) {
  std::string out = R"({"predictions":[)";
  bool texts = o.type == DataType::bytes;
  for (std::size_t r = 0; r < o.rows; ++r) {
    if (r != 0) out += ',';
    if (o.width > 1) out += '[';
    for (std::size_t c = 0; c < o.width; ++c) {
      if (c != 0) out += ',';
      if (texts)
        json::append_string(out, o.texts[r * o.width + c]);
      else
        append_number(out, o.type, o.numbers[r * o.width + c]);
    }
    if (o.width > 1) out += ']';
  }
  out += "]}";
  return out;
}

http::Response no_model(std::string_view name) {
  return refused(refusal(404, fmt::format("Model with name {} does not exist.", printable(name))));
}

Reply run_predict(Repository& repo, http::Request& rq, std::string name) {
  auto started = time::mono_ns();
  auto model = repo.find(name, "");
  if (!model) co_return no_model(name);
  auto body = co_await http::read_all(rq, kBodyLimit);
  if (!body) {
    (*model)->failure.add();
    co_return body_error(body.error());
  }
  auto computed = co_await compute(body->size(), [&] { return predict_v1(**model, *body); });
  if (!computed) co_return too_busy();
  auto answer = std::move(*computed);
  if (!answer) {
    (*model)->failure.add();
    co_return refused(answer.error());
  }
  (*model)->success.add();
  (*model)->seconds.observe(static_cast<double>(time::mono_ns() - started) / 1e9);
  co_return http::Response::json(200, std::move(*answer));
}

}  // namespace

std::expected<std::string, Refusal> predict_v1(const Model& m, std::string_view body) {
  auto doc = json::parse(body);
  if (!doc) return bad("Unrecognized request format: the body is no valid JSON");
  if (!doc->is_object()) return bad("Unrecognized request format: the body is no JSON object");
  const value* rows = nullptr;
  for (const char* key : {"inputs", "instances"})
    if (const auto* v = json::find(*doc, key)) {
      if (!v->is_array()) return bad(fmt::format("Expected \"{}\" to be a list", key));
      rows = v;
      break;
    }
  if (rows == nullptr) return bad("Expected \"instances\" or \"inputs\" in the request");
  auto frame = frame_of(m, rows->get_array());
  if (!frame) return std::unexpected(frame.error());
  if (frame->rows == 0) return bad("Found array with 0 sample(s): there are no instances");
  if (frame->columns != m.loaded.engine->features())
    return bad(fmt::format("an instance has {} features, but the model is expecting {} features as input",
                           frame->columns, m.loaded.engine->features()));
  auto output = m.loaded.engine->predict(*frame);
  if (!output) {
    // Engines speak of columns by number ("#3"); the client knows them by name.
    auto text = output.error().message;
    auto names = column_names(m);
    if (auto at = text.find('#'); at != std::string::npos) {
      auto end = text.find_first_not_of("0123456789", at + 1);
      if (end == std::string::npos) end = text.size();
      auto index = text::to_u64(std::string_view(text).substr(at + 1, end - at - 1));
      if (index && *index < names.size())
        text = text.substr(0, at) + "'" + printable(names[*index]) + "'" + text.substr(end);
    }
    return bad(text);
  }
  return render(*output);
}

void add_v1_routes(http::Router& router, Repository& repo) {
  router.add(Method::get, "/",
             [](http::Request&) -> Reply { co_return http::Response::json(200, R"({"status":"alive"})"); });
  router.add(Method::get, "/v1/models", [&repo](http::Request&) -> Reply {
    std::string out;
    json::Writer w(out);
    w.begin_object();
    w.key("models");
    w.begin_array();
    std::string last;
    for (const auto& e : repo.index())
      if (e.ready && e.name != last) w.string(last = e.name);
    w.end_array();
    w.end_object();
    co_return http::Response::json(200, std::move(out));
  });
  router.add(Method::get, "/v1/models/{name}", [&repo](http::Request& rq) -> Reply {
    const auto& name = rq.params[0];
    bool ready = repo.find(name, "").has_value();
    bool known = ready;
    for (const auto& e : repo.index()) known = known || e.name == name;
    if (!known) co_return no_model(name);
    if (!ready) co_return refused(refusal(503, fmt::format("Model with name {} is not ready.", printable(name))));
    std::string out = R"({"name":)";
    json::append_string(out, name);
    out += R"(,"ready":true})";
    co_return http::Response::json(200, std::move(out));
  });
  // The verb stands behind a colon, which clients may send as %3A: the parameter is decoded by now.
  router.add(Method::post, "/v1/models/{name}", [&repo](http::Request& rq) -> Reply {
    auto at = rq.params[0].rfind(':');
    auto verb = at == std::string::npos ? std::string() : rq.params[0].substr(at + 1);
    auto name = rq.params[0].substr(0, at);
    if (verb == "predict") return run_predict(repo, rq, name);
    return [](std::string v) -> Reply {
      if (v == "explain") co_return refused(refusal(501, "this model has no explainer"));
      co_return http::Response::json(404, R"({"detail":"Not Found"})");
    }(verb);
  });
}

}  // namespace mr::serving

#include "serving/csv.h"

#include "serving/v2_request.h"

namespace mr::serving {

namespace {

struct Field {
  std::string text;
  bool quoted = false;
};

// One record after another; an empty answer is the end.
class CsvReader {
 public:
  explicit CsvReader(std::string_view text) : rest_(text) {
    if (rest_.starts_with("\xEF\xBB\xBF")) rest_.remove_prefix(3);
  }
  [[nodiscard]] std::size_t line() const { return line_; }

  Result<std::vector<Field>> next() {
    while (!rest_.empty()) {
      ++line_;
      MR_TRY(auto fields, record());
      if (fields.size() > 1 || fields[0].quoted || !fields[0].text.empty()) return fields;
    }
    return std::vector<Field>{};
  }

 private:
  Result<std::vector<Field>> record() {
    std::vector<Field> out(1);
    while (true) {
      auto& f = out.back();
      if (!rest_.empty() && rest_.front() == '"' && f.text.empty() && !f.quoted) {
        f.quoted = true;
        rest_.remove_prefix(1);
        MR_CHECK(quoted(f.text));
        continue;
      }
      if (rest_.empty()) return out;
      char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == ',') {
        out.emplace_back();
        if (out.size() > kMaxInputs) return fail(Code::invalid_argument, "a line has more fields than are taken");
      } else if (c == '\n' || c == '\r') {
        if (c == '\r' && rest_.starts_with('\n')) rest_.remove_prefix(1);
        return out;
      } else {
        f.text += c;
      }
    }
  }
  Result<> quoted(std::string& out) {
    while (!rest_.empty()) {
      char c = rest_.front();
      rest_.remove_prefix(1);
      if (c == '\n') ++line_;
      if (c != '"') {
        out += c;
      } else if (rest_.starts_with('"')) {
        out += '"';
        rest_.remove_prefix(1);
      } else {
        return {};
      }
    }
    return fail(Code::invalid_argument, fmt::format("line {} ends inside quotes", line_));
  }

  std::string_view rest_;
  std::size_t line_ = 0;
};

bool missing_text(std::string_view t) {
  static const std::set<std::string_view> texts{"",        "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN",
                                                "-nan",    "N/A",  "1.#IND",   "NA",  "<NA>",    "NULL",     "NaN",
                                                "1.#QNAN", "None", "n/a",      "nan", "null"};
  return texts.contains(t);
}

}  // namespace

Result<CsvTable> read_csv(std::string_view text) {
  CsvReader in(text);
  CsvTable out;
  MR_TRY(auto header, in.next());
  if (header.empty()) return fail(Code::invalid_argument, "No columns to parse from file");
  std::map<std::string, int> seen;
  for (auto& f : header) {
    // A repeated name gets a number, as in pandas.
    auto n = seen[f.text]++;
    out.table.names.push_back(n == 0 ? std::move(f.text) : fmt::format("{}.{}", f.text, n));
  }
  out.table.columns.resize(header.size());
  while (true) {
    MR_TRY(auto fields, in.next());
    if (fields.empty()) return out;
    if (fields.size() > header.size())
      return fail(Code::invalid_argument,
                  fmt::format("Expected {} fields in line {}, saw {}", header.size(), in.line(), fields.size()));
    if (out.cells.size() + header.size() > kMaxValues)
      return fail(Code::invalid_argument, "the request has more values than are taken");
    for (std::size_t i = 0; i < header.size(); ++i) {
      if (i >= fields.size() || missing_text(fields[i].text)) {
        out.table.columns[i].push_back(nullptr);
        continue;
      }
      out.cells.emplace_back(boost::json::string_view(fields[i].text));
      out.table.columns[i].push_back(&out.cells.back());
    }
    ++out.table.rows;
  }
}

}  // namespace mr::serving

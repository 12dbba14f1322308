// Columns put together to the frame that an engine computes on, and tables of JSON cells (V1, MLflow's scoring
// protocol) read as such columns. Internal to the room's protocols. Pure functions; a FrameBuilder belongs to one
// thread.
#pragma once
#include <boost/json/value.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serving/repository.h"
#include "serving/v2.h"

namespace mr::serving {

// Columns are added by index, in any order, each once. A refusal is a text that goes on from "the column 'x' ".
class FrameBuilder {
 public:
  explicit FrameBuilder(std::size_t columns) { frame_.columns = columns; }
  [[nodiscard]] std::string add_numbers(std::size_t column, const std::vector<double>& values);
  [[nodiscard]] std::string add_texts(std::size_t column, TextColumn texts);
  // A column that the request leaves out: all its rows are missing. After the others.
  void add_missing(std::size_t column, bool text);
  Frame finish(std::vector<std::string> names, bool f32);

 private:
  std::string rows(std::size_t n);
  Frame frame_;
  bool first_ = true;
};

// Engines speak of columns by number ("#3"); clients know them by name.
std::string with_column_names(std::string text, const std::vector<std::string>& names);
// Engine::predict, counted.
Result<Output> run_engine(const Model& model, const Frame& frame);
// Whether requests of MLflow's scoring protocol, and V1's, are read here, so that those of several clients can be
// computed at once: the columns of the signature are plain cells. The rest is the library's own to read, where it can.
bool reads_rows(const Model& model);
// Engine::score, counted.
Result<ScoringAnswer> score_raw(const Model& model, std::string_view content_type, std::string_view body);
// An error of Engine::predict as the protocols answer it.
Refusal engine_refusal(const Error& e, const std::vector<std::string>& names);

// ISO 8601: a date, or a date and time with optional fraction and offset.
bool is_datetime(std::string_view text);
// The text of a JSON string or number, or (…, true) for null; nullopt when it is neither.
std::optional<std::pair<std::string, bool>> text_of_json(std::string_view json);

// A table of JSON cells by columns; a null pointer is a missing cell. Views: the cells live elsewhere.
struct Table {
  std::vector<std::string> names;  // empty: columns are known by their place
  std::vector<std::vector<const boost::json::value*>> columns;
  std::size_t rows = 0;
};
// Rows as objects (of scalars, or of lists of one length, which are several rows), as lists, or as single texts. What
// an object lacks is a missing cell. Errors: rows of different widths or kinds, too many values.
Result<Table> table_of_rows(const boost::json::array& rows);
enum class CellRules : std::uint8_t {
  v1,     // as numpy takes a list
  mlflow  // cast to the signature's types, as `mlflow models serve` does
};
// By the signature's columns, else the names the model was fitted with, else the table's own order. Errors
// (invalid_argument) name the column; reason "schema": the table has not the columns that the model wants.
Result<Frame> frame_of_table(const Model& model, const Table& table, CellRules rules);

// The value of "predictions". `python`: 32-bit floats as Python prints them when they have become doubles.
void append_predicted(std::string& out, const Output& output, bool python);

}  // namespace mr::serving

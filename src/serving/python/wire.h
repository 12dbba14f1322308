// The messages between an engine and its Python worker (python/worker/worker.py has the format): frames to blocks of
// numbers and texts, requests joined into one message, answers checked and cut apart again.
// Pure functions; what a worker sends is hostile input.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serving/types.h"

namespace mr::serving::python {

inline constexpr std::size_t kHeadBytes = 16;

struct Head {
  std::size_t header = 0;   // bytes of the JSON header that follows
  std::size_t payload = 0;  // bytes of arrays behind it
};
// Of exactly kHeadBytes. Errors: data_loss, when they are no head or announce more than is taken.
Result<Head> read_head(std::string_view bytes);

// One array of a request: numbers, or texts.
struct Block {
  std::vector<double> numbers;
  TextColumn texts;
  bool text = false;
};

// A request's data in the form of the wire.
struct Call {
  std::string schema;  // the message's header but for its id and number of rows: calls with equal ones can be joined
  std::size_t rows = 0;
  bool tensor = false;                 // tensors: their shapes stand in the header, with the rows first
  std::string prefix;                  // of tensors: the schema before their descriptions
  std::vector<std::string> described;  // of each tensor: {"name":…,"type":…,"enc":…,"shape":[ROWS
  std::vector<std::string> tails;      // and ,2,3]}
  std::vector<Block> blocks;
  bool scoring = false;  // instead of all: `raw` is a whole request of MLflow's scoring protocol
  std::string raw;
};
// Errors (invalid_argument): a column that the signature's type does not take, as "#3".
Result<Call> make_call(const Frame& frame, const Signature& signature);

// A request of MLflow's scoring protocol for the worker to read; it is never joined with others.
Call scoring_call(std::string_view content_type, std::string_view body);

// The whole message of calls with one schema.
std::string encode(const std::vector<const Call*>& calls, std::uint64_t id);

struct Answer {
  std::uint64_t id = 0;
  bool ok = false;
  bool ready = false;
  std::string python, mlflow;           // of the message that says ready
  bool scores = false;                  // of that message too: it takes scoring_call()
  std::optional<ScoringAnswer> scored;  // of a scoring_call(), instead of the output
  // Of an ONNX worker's: the library's version, what the model takes and gives, and whether requests can be joined.
  std::string onnxruntime;
  std::vector<Signature::Out> inputs, outputs;
  bool joins = true;
  std::string kind, error;  // input, model, memory or unsupported, and what the worker says
  Output output;
};
// Errors: data_loss.
Result<Answer> decode(std::string_view header, std::string_view payload);

// One output for each number of rows; nullopt: the answer has not one row for each row that was asked.
std::optional<std::vector<Output>> split(const Output& whole, const std::vector<std::size_t>& rows);

}  // namespace mr::serving::python

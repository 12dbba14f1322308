// How a model is brought up: by a native engine, or by its own library in a Python worker; and what is checked before
// it answers. Blocking. Thread safe once made.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "serving/formats/mlmodel.h"
#include "serving/types.h"

namespace mr::serving {

enum class EngineChoice : std::uint8_t { automatic, native, python };
enum class CheckMode : std::uint8_t { automatic, off, strict };
using LogLine = std::function<void(std::string_view)>;  // without its newline; from any thread

// What a Python worker is asked to serve.
struct PythonModel {
  std::string folder;  // with an MLmodel
  Signature signature;
  LogLine log;                                           // what the worker prints
  std::vector<std::pair<std::string, std::string>> env;  // further variables
  std::int64_t memory = 0;                               // bytes; 0: as the program was told
  int replicas = 0;                                      // 0: as the program was told
};

// The environment that a model's own files ask for.
struct PythonEnvironment {
  std::string python;  // the version that would run it: "3.11"
  std::string note;    // when it is another than the model asks for
  std::size_t packages = 0;
  bool cached = false;
};

// Runs models by their own libraries; the program's assembly hands it over.
class PythonModels {
 public:
  virtual ~PythonModels() = default;
  // Makes the environment where it is not there yet, starts the workers, and returns when one can answer.
  virtual Result<std::unique_ptr<Engine>> start(const PythonModel& model) = 0;
  virtual Result<PythonEnvironment> environment(const std::string& folder) = 0;
};

struct LoadOptions {
  EngineChoice engine = EngineChoice::automatic;
  CheckMode check = CheckMode::automatic;
  std::shared_ptr<PythonModels> python;  // empty: this program has native engines only
  LogLine log;
  std::vector<std::pair<std::string, std::string>> env;
  std::int64_t memory = 0;
};

// Whether another engine may do what a native one refused: a class, flavor or operator that is not known, as against a
// file that is damaged, or made to do harm.
bool may_be_served_elsewhere(const Error& e);

// The model at `path`, ready to answer.
Result<LoadedModel> load_served(const std::string& path, const LoadOptions& options);

}  // namespace mr::serving
  std::vector<std::pair<std::string, std::string>> labels;  // of models' metrics, besides name and version

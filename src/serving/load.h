// How a model is brought up: by a native engine, or by its own library in a Python worker; and what is checked before
// it answers. Blocking. Thread safe once made.
#pragma once
#include <functional>
#include <map>
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

// An ONNX model on the disk.
struct OnnxModel {
  std::string folder;                          // what the worker sees of the disk
  std::string file;                            // the model, inside that folder
  bool alone = false;                          // of the folder only that file, with what is named as its data, is meant
  bool described = false;                      // an MLmodel lies in the folder
  Signature signature;                         // as that says
  std::map<std::string, std::string> options;  // of its session, as that says
  LogLine log;
  std::int64_t memory = 0;  // bytes; 0: as the program was told
};

// The library that would compute a model.
struct OnnxLibrary {
  std::string path;         // empty: it comes with the model's own environment, which is made when it is first served
  std::string environment;  // "Python 3.11, 5 requirements"; empty: the library is this machine's
};

// Runs ONNX models by ONNX Runtime in processes of their own; the program's assembly hands it over.
class OnnxModels {
 public:
  virtual ~OnnxModels() = default;
  // Errors: unimplemented, when no library is at hand, or it does not know the model's operators.
  virtual Result<LoadedModel> start(const OnnxModel& model) = 0;
  virtual Result<OnnxLibrary> library(const OnnxModel& model) = 0;
};

struct LoadOptions {
  EngineChoice engine = EngineChoice::automatic;
  CheckMode check = CheckMode::automatic;
  std::shared_ptr<PythonModels> python;  // empty: this program has native engines only
  std::shared_ptr<OnnxModels> onnx;      // empty: it runs no ONNX models
  LogLine log;
  std::vector<std::pair<std::string, std::string>> env;
  std::int64_t memory = 0;
  std::vector<std::pair<std::string, std::string>> labels;  // of models' metrics, besides name and version
};

// Whether another engine may do what a native one refused: a class, flavor or operator that is not known, as against a
// file that is damaged, or made to do harm.
bool may_be_served_elsewhere(const Error& e);

// The model at `path`, ready to answer.
Result<LoadedModel> load_served(const std::string& path, const LoadOptions& options);

}  // namespace mr::serving

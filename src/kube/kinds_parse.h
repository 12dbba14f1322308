// Reads the descriptions of types and kinds (kube/kinds/*.kinds). Pure functions; not thread safe on one Descriptions.
//
// The language: one statement a line, `#` begins a comment line, ` : ` begins the description that `kubectl explain`
// shows.
//   alias NAME PACKAGE            NAME.Type in this file is PACKAGE.Type
//   package PACKAGE               of the types that follow
//   type NAME [preserve]          an object; `preserve`: unknown fields are kept
//     FIELD TYPE [NUMBER] [ATTRIBUTE...]
//       TYPE: string bool int32 int64 number bytes time microtime duration quantity intstr any, or the name of a type;
//       before it [] for a list, {} for a map. NUMBER: of the protobuf field.
//       required nullable opt atomic set keys=A,B merge[=KEY] retainkeys enum=A|B default=X in=NUMBER go=TYPE
//   kind NAME
//     group GROUP | names PLURAL [SINGULAR [SHORT...]] | list LISTKIND | categories C... | cluster | crd | virtual
//     verbs V... | sub S... | select PATH... | generation
//     version NAME TYPE|any [storage] [unserved] [status] [scale=SPEC,STATUS,SELECTOR]
//     deprecated TEXT             of the version before it
//     column NAME TYPE SOURCE [wide] [format=F]   before the first version: of all versions, else of the one before it
//       SOURCE: a JSONPath (begins with `.`), or the name of a cell function of table.cpp
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kube/kinds.h"

namespace mr::kube {

struct Descriptions {
  std::deque<Type> types;  // a deque: Field::ref points into it
  std::unordered_map<std::string_view, Type*> by_name;
  std::vector<std::shared_ptr<Kind>> kinds;
  // References by name, resolved when all files are read.
  struct Pending {
    Type* type;
    std::size_t field;
    std::string name;
    std::string where;
  };
  std::vector<Pending> pending;
  struct PendingSchema {
    Kind* kind;
    std::size_t version;
    std::string name;
    std::string where;
  };
  std::vector<PendingSchema> pending_schemas;
};

// Adds what `text` describes. Errors name `file` and the line.
Result<void> parse_descriptions(std::string_view text, std::string_view file, Descriptions& into);
// Points every reference at its type.
Result<void> resolve_descriptions(Descriptions& d);

// All built-in ones, read at the first call. Thread safe; immutable.
const Descriptions& builtin_descriptions();

}  // namespace mr::kube

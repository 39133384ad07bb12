import { isDeepStrictEqual } from 'node:util';
import {
  ApiError,
  alreadyExists,
  badRequest,
  conflict,
  expired,
  forbidden,
  invalid,
  methodNotAllowed,
  type Named,
  notFound,
  unsupportedMediaType,
} from './api-error.ts';
import { type ApiPath, parseApiPath } from './api-path.ts';
import { isMap, type JsonMap, type KubernetesObject } from './kubernetes-object.ts';
import { updateManagedFields } from './managed-fields.ts';
import { ObjectStore, type StoredEvent } from './object-store.ts';
import { jsonPatch, mergePatch } from './patches.ts';
import { type Attributes, isAllowed, type User } from './rbac.ts';
import { badMicroTime, builtInKinds, customKind, type ResourceKind } from './resource-kind.ts';
import { matchesFields, matchesLabels, nameInFieldSelector } from './selectors.ts';

export type ApiRequest = {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly contentType: string;
  readonly body: string;
  readonly user: User;
  readonly userAgent: string;
};
export type ApiAnswer = { readonly status: number; readonly body: unknown } | { readonly watch: Watch };

/** A watch to be streamed: what there is already, and how to hear of more. */
export type Watch = {
  readonly first: readonly WatchEvent[];
  /** @returns stops listening */
  readonly follow: (onEvent: (event: WatchEvent) => void) => () => void;
  readonly wantsBookmarks: boolean;
  /** A bookmark of this instant. */
  readonly bookmark: () => WatchEvent;
  readonly timeoutMs: number;
};
export type WatchEvent = { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR'; readonly object: unknown };

/** What an admission webhook is asked. */
export type AdmissionReview = {
  readonly operation: 'CREATE' | 'UPDATE' | 'DELETE';
  readonly group: string;
  readonly resource: string;
  readonly subresource: string | null;
  readonly namespace: string | null;
  readonly name: string;
  readonly user: User;
  readonly isDryRun: boolean;
  /** Read only; `null` on DELETE. */
  readonly object: KubernetesObject | null;
  readonly before: KubernetesObject | null;
};
/**
 * A webhook's answer: `null` lets it pass; `deny` refuses with the webhook's words; `fail`: the call to the webhook itself fails
 * (failurePolicy Fail); `mutate` stores another object.
 */
export type AdmissionAnswer = null | { readonly deny: string; readonly code?: number } | { readonly fail: string } | { readonly mutate: KubernetesObject };
export type Webhook = { readonly name: string; readonly review: (review: AdmissionReview) => AdmissionAnswer };

type Deletion = { preconditions?: { uid?: string; resourceVersion?: string }; gracePeriodSeconds?: number };

const patchTypes = ['application/json-patch+json', 'application/merge-patch+json', 'application/apply-patch+yaml', 'application/apply-patch+cbor'];

/** A Kubernetes API server in memory: kinds, rules and texts of the real one, as far as README.md says. */
export class ApiServer {
  readonly store = new ObjectStore();
  readonly webhooks: Webhook[] = [];
  /** Without RBAC everybody may everything. */
  isRbacOn = false;
  readonly #kinds = new Map<string, ResourceKind>();
  readonly #nowMs: () => number;
  #addresses = 1;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    for (const kind of builtInKinds) this.#kinds.set(storeOf(kind), kind);
    for (const name of ['default', 'kube-system']) this.ensureNamespace(name);
  }

  ensureNamespace(name: string): void {
    const kind = this.#kinds.get('/namespaces') as ResourceKind;
    if (this.store.get('/namespaces', null, name) !== null) return;
    this.store.put(storeOf(kind), {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, uid: this.store.newUid(), creationTimestamp: this.#timestamp(), labels: { 'kubernetes.io/metadata.name': name } },
      spec: { finalizers: ['kubernetes'] },
      status: { phase: 'Active' },
    });
  }

  /** @throws {ApiError} whatever is refused */
  handle(request: ApiRequest): ApiAnswer {
    const health = ['/livez', '/readyz', '/healthz'].includes(request.path);
    if (health) return { status: 200, body: 'ok' };
    if (request.path === '/version') return { status: 200, body: { major: '1', minor: '34', gitVersion: 'v1.34.0-fake' } };
    const path = parseApiPath(request.path);
    if (path === null) throw new ApiError(404, 'NotFound', 'the server could not find the requested resource', {});
    if (path.resource === '') return { status: 200, body: this.#discovery(path) };
    if (path.group === 'authorization.k8s.io' && path.resource === 'selfsubjectaccessreviews') return this.#reviewAccess(request);
    const kind = this.#kindOf(path);
    this.#authorize(request, path);
    if (request.method === 'GET') return this.#read(request, path, kind);
    return this.#write(request, path, kind);
  }

  // ---- what there is

  #kindOf(path: ApiPath): ResourceKind {
    const kind = this.#kinds.get(`${path.group}/${path.resource}`);
    const subresources =
      kind === undefined
        ? []
        : [null, ...(kind.hasStatus ? ['status'] : []), ...(kind.hasScale === true ? ['scale'] : []), ...(kind.kind === 'Pod' ? ['binding'] : [])];
    if (
      kind === undefined ||
      !kind.versions.includes(path.version) ||
      !subresources.includes(path.subresource) ||
      (path.namespace !== null && !kind.namespaced)
    )
      throw new ApiError(404, 'NotFound', 'the server could not find the requested resource', {});
    return kind;
  }

  #discovery({ group, version }: ApiPath): unknown {
    const kinds = [...this.#kinds.values()].filter((kind) => kind.group === group && kind.versions.includes(version));
    if (kinds.length === 0) throw new ApiError(404, 'NotFound', 'the server could not find the requested resource', {});
    const verbs = ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'];
    const resources = kinds.flatMap((kind) => [
      { name: kind.resource, singularName: kind.kind.toLowerCase(), namespaced: kind.namespaced, kind: kind.kind, verbs },
      ...(kind.hasStatus
        ? [{ name: `${kind.resource}/status`, singularName: '', namespaced: kind.namespaced, kind: kind.kind, verbs: ['get', 'patch', 'update'] }]
        : []),
    ]);
    return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: group === '' ? version : `${group}/${version}`, resources };
  }

  // ---- who may what

  #authorize(request: ApiRequest, path: ApiPath): void {
    if (!this.isRbacOn) return;
    const isWatch = isTrue(request.query.get('watch'));
    const named = path.name === '' ? (nameInFieldSelector(request.query.get('fieldSelector') ?? '') ?? '') : path.name;
    const verbs: Readonly<Record<string, string>> = {
      GET: path.name === '' ? (isWatch ? 'watch' : 'list') : 'get',
      POST: 'create',
      PUT: 'update',
      PATCH: 'patch',
      DELETE: 'delete',
    };
    const verb = verbs[request.method] ?? request.method.toLowerCase();
    const namespace = path.namespace ?? (path.resource === 'namespaces' && path.name !== '' ? path.name : null);
    const wanted = { verb, group: path.group, resource: path.resource, subresource: path.subresource, namespace, name: verb === 'create' ? '' : named };
    if (!this.#isAllowed(request.user, wanted)) throw forbidden(path, path.name, { user: request.user.name, verb, subresource: path.subresource, namespace });
  }

  #isAllowed(user: User, wanted: Attributes): boolean {
    if (!this.isRbacOn) return true;
    return isAllowed(user, wanted, (resource, namespace) => this.store.list(`rbac.authorization.k8s.io/${resource}`, namespace));
  }

  #reviewAccess(request: ApiRequest): ApiAnswer {
    const review = parseBody(request.body);
    const wanted = (isMap(review['spec']) && isMap(review['spec']['resourceAttributes']) ? review['spec']['resourceAttributes'] : {}) as Record<
      string,
      string | undefined
    >;
    const { namespace, verb = '', group = '', resource = '', subresource, name = '' } = wanted;
    const allowed = this.#isAllowed(request.user, {
      verb,
      group,
      resource,
      name,
      subresource: subresource === undefined || subresource === '' ? null : subresource,
      namespace: namespace === undefined || namespace === '' ? null : namespace,
    });
    return { status: 201, body: { ...review, status: { allowed, ...(allowed ? { reason: 'RBAC: allowed' } : {}) } } };
  }

  // ---- reading

  #read(request: ApiRequest, path: ApiPath, kind: ResourceKind): ApiAnswer {
    const { query } = request;
    if (path.name !== '') {
      const object = this.#existing(path, kind);
      if (path.subresource === 'scale') return { status: 200, body: scaleOf(object) };
      return { status: 200, body: shown(object, path, kind) };
    }
    const labelSelector = query.get('labelSelector') ?? '';
    const fieldSelector = query.get('fieldSelector') ?? '';
    const fits = (object: KubernetesObject | null): boolean =>
      object !== null &&
      (path.namespace === null || object.metadata.namespace === path.namespace) &&
      matchesLabels(labelSelector, object.metadata.labels ?? {}) &&
      matchesFields(fieldSelector, object, kind.kind);
    if (isTrue(query.get('watch'))) return { watch: this.#watch(query, path, kind, fits) };
    return { status: 200, body: this.#list(query, path, kind, fits) };
  }

  #list(query: URLSearchParams, path: ApiPath, kind: ResourceKind, fits: (object: KubernetesObject) => boolean): unknown {
    let from = 0;
    let version = this.store.version;
    const token = query.get('continue');
    if (token !== null && token !== '') {
      const place = JSON.parse(Buffer.from(token, 'base64url').toString('utf8')) as { version: number; from: number };
      if (this.store.isCompacted(place.version))
        throw expired(
          'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.',
        );
      ({ version, from } = place);
    }
    const all = this.store.list(storeOf(kind), path.namespace).filter(fits);
    const limit = Number(query.get('limit') ?? 0);
    const page = limit > 0 ? all.slice(from, from + limit) : all;
    const left = all.length - from - page.length;
    const next =
      limit > 0 && left > 0 ? { continue: Buffer.from(JSON.stringify({ version, from: from + limit })).toString('base64url'), remainingItemCount: left } : {};
    const items = page.map((object) => {
      // Elements of a list do not say what they are.
      const { apiVersion: _apiVersion, kind: _kind, ...rest } = shown(object, path, kind);
      return kind.isBuiltIn ? rest : { apiVersion: apiVersionOf(path), kind: kind.kind, ...rest };
    });
    return { kind: `${kind.kind}List`, apiVersion: apiVersionOf(path), metadata: { resourceVersion: String(version), ...next }, items };
  }

  #watch(query: URLSearchParams, path: ApiPath, kind: ResourceKind, fits: (object: KubernetesObject | null) => boolean): Watch {
    const show = (object: KubernetesObject): unknown => shown(object, path, kind);
    const translate = (event: StoredEvent): WatchEvent | null => {
      if (event.store !== storeOf(kind)) return null;
      const [was, is] = [fits(event.before), event.type !== 'DELETED' && fits(event.object)];
      if (!was && !is) return null;
      return { type: was ? (is ? 'MODIFIED' : 'DELETED') : 'ADDED', object: show(event.object) };
    };
    const asked = query.get('resourceVersion') ?? '';
    const first: WatchEvent[] = [];
    if (asked === '' || asked === '0') {
      for (const object of this.store.list(storeOf(kind), path.namespace)) if (fits(object)) first.push({ type: 'ADDED', object: show(object) });
    } else {
      if (!/^\d+$/.test(asked))
        throw badRequest(`invalid resource version ${JSON.stringify(asked)}: strconv.ParseUint: parsing ${JSON.stringify(asked)}: invalid syntax`);
      try {
        for (const event of this.store.since(Number(asked))) {
          const translated = translate(event);
          if (translated !== null) first.push(translated);
        }
      } catch (error) {
        // A watch that comes too late is answered with 200 and an event that says so.
        first.push({ type: 'ERROR', object: (error as ApiError).status() });
      }
    }
    return {
      first,
      follow: (onEvent) =>
        this.store.listen((event) => {
          const translated = translate(event);
          if (translated !== null) onEvent(translated);
        }),
      wantsBookmarks: isTrue(query.get('allowWatchBookmarks')),
      bookmark: () => ({
        type: 'BOOKMARK',
        object: { kind: kind.kind, apiVersion: apiVersionOf(path), metadata: { resourceVersion: String(this.store.version), creationTimestamp: null } },
      }),
      timeoutMs: Number(query.get('timeoutSeconds') ?? 1_800) * 1_000,
    };
  }

  #existing(path: ApiPath, kind: ResourceKind): KubernetesObject {
    const object = this.store.get(storeOf(kind), path.namespace, path.name);
    if (object === null) throw notFound(path, path.name);
    return object;
  }

  // ---- writing

  #write(request: ApiRequest, path: ApiPath, kind: ResourceKind): ApiAnswer {
    const dryRun = request.query.getAll('dryRun');
    if (dryRun.some((value) => value !== 'All'))
      throw invalid({ group: 'meta.k8s.io', resource: '' }, 'PatchOptions', '', [
        { field: 'dryRun', message: `Unsupported value: ${JSON.stringify(dryRun)}: supported values: "All"`, reason: 'FieldValueNotSupported' },
      ]);
    const write = new Write(request, path, kind, dryRun.length > 0);
    switch (request.method) {
      case 'POST':
        if (path.subresource === 'binding') return this.#bind(write);
        if (path.name !== '' || path.subresource !== null) throw methodNotAllowed();
        return { status: 201, body: shown(this.#create(write), path, kind) };
      case 'PUT': {
        if (path.name === '') throw methodNotAllowed();
        const body = parseObject(request.body);
        if (path.subresource === 'scale') return { status: 200, body: scaleOf(this.#scale(write, body)) };
        return this.#shownUpdate(write, (before) => {
          if (body.metadata.name !== path.name)
            throw badRequest(`the name of the object (${body.metadata.name ?? ''}) does not match the name on the URL (${path.name})`);
          if (path.namespace !== null && body.metadata.namespace !== undefined && body.metadata.namespace !== path.namespace)
            throw badRequest(`the namespace of the provided object does not match the namespace sent on the request`);
          if (body.metadata.uid !== undefined && body.metadata.uid !== '' && body.metadata.uid !== before.metadata.uid)
            throw conflict(path, path.name, `Precondition failed: UID in precondition: ${body.metadata.uid}, UID in object meta: ${before.metadata.uid ?? ''}`);
          return body;
        });
      }
      case 'PATCH':
        if (path.name === '') throw methodNotAllowed();
        return this.#patch(write);
      case 'DELETE':
        if (path.subresource !== null) throw methodNotAllowed();
        if (path.name === '') return this.#deleteAll(write);
        return { status: 200, body: this.#delete(write, this.#existing(path, kind)) };
      default:
        throw methodNotAllowed();
    }
  }

  #shownUpdate(write: Write, change: (before: KubernetesObject) => KubernetesObject): ApiAnswer {
    return { status: 200, body: shown(this.#update(write, change), write.path, write.kind) };
  }

  #create(write: Write): KubernetesObject {
    const { path, kind, request } = write;
    const object = parseObject(request.body);
    this.#checkTypes(object, write);
    if (kind.namespaced && path.namespace === null) throw methodNotAllowed();
    const name =
      object.metadata.name ?? (object.metadata.generateName === undefined ? undefined : `${object.metadata.generateName}${this.store.newUid().slice(0, 5)}`);
    if (name === undefined || name === '')
      throw invalid(path, kind.kind, '', [
        { field: 'metadata.name', message: 'Required value: name or generateName is required', reason: 'FieldValueRequired' },
      ]);
    if (object.metadata.resourceVersion !== undefined && object.metadata.resourceVersion !== '')
      throw new ApiError(500, 'InternalError', 'Internal error occurred: resourceVersion should not be set on objects to be created');
    if (path.namespace !== null && this.store.get('/namespaces', null, path.namespace) === null)
      throw notFound({ group: '', resource: 'namespaces' }, path.namespace);
    if (this.store.get(storeOf(kind), path.namespace, name) !== null) throw alreadyExists(path, name);
    const created: KubernetesObject = {
      ...object,
      apiVersion: apiVersionOf(path),
      kind: kind.kind,
      metadata: {
        ...object.metadata,
        name,
        ...(path.namespace === null ? {} : { namespace: path.namespace }),
        uid: this.store.newUid(),
        creationTimestamp: this.#timestamp(),
      },
    };
    delete created.metadata['managedFields'];
    delete created.metadata.deletionTimestamp;
    if (kind.hasStatus) delete created.status;
    if (kind.generation === 'none') delete created.metadata.generation;
    else created.metadata.generation = 1;
    kind.setDefaults?.(created, { nextClusterIp: () => this.#nextClusterIp(), before: null });
    const admitted = this.#admit(write, 'CREATE', created, null);
    this.#validate(admitted, null, write);
    return this.#keep(write, null, admitted);
  }

  #update(write: Write, change: (before: KubernetesObject) => KubernetesObject): KubernetesObject {
    const { path, kind } = write;
    const before = this.#existing(path, kind);
    const wished = structuredClone(change(before));
    this.#checkTypes(wished, write);
    const version = wished.metadata.resourceVersion;
    if (version === undefined || version === '') {
      if (!kind.allowsUnconditionalUpdate)
        throw invalid(path, kind.kind, path.name, [{ field: 'metadata.resourceVersion', message: 'Invalid value: 0: must be specified for an update' }]);
    } else if (version !== before.metadata.resourceVersion) throw conflict(path, path.name);
    const after = this.#merged(write, before, wished);
    kind.setDefaults?.(after, { nextClusterIp: () => this.#nextClusterIp(), before });
    const admitted = this.#admit(write, 'UPDATE', after, before);
    if (admitted.metadata.uid !== before.metadata.uid)
      throw invalid(path, kind.kind, path.name, [
        { field: 'metadata.uid', message: `Invalid value: ${JSON.stringify(admitted.metadata.uid)}: field is immutable` },
      ]);
    this.#validate(admitted, before, write);
    // An update that changes nothing is not stored.
    if (isDeepStrictEqual(withoutBookkeeping(admitted), withoutBookkeeping(before))) return before;
    return this.#keep(write, before, admitted);
  }

  /** What an update may change: all but the status, or nothing but the status; and what only the server sets. */
  #merged({ path, kind }: Write, before: KubernetesObject, wished: KubernetesObject): KubernetesObject {
    const fixed = {
      name: before.metadata.name,
      ...(before.metadata.namespace === undefined ? {} : { namespace: before.metadata.namespace }),
      uid: wished.metadata.uid === undefined || wished.metadata.uid === '' ? before.metadata.uid : wished.metadata.uid,
      resourceVersion: before.metadata.resourceVersion,
      creationTimestamp: before.metadata.creationTimestamp,
      ...(before.metadata.generation === undefined ? {} : { generation: before.metadata.generation }),
      ...(before.metadata.managedFields === undefined ? {} : { managedFields: before.metadata.managedFields }),
      ...(before.metadata.deletionTimestamp === undefined ? {} : { deletionTimestamp: before.metadata.deletionTimestamp }),
    };
    const { generation: _generation, managedFields: _managedFields, deletionTimestamp: _deletionTimestamp, ...own } = wished.metadata;
    const common = { ...before, apiVersion: apiVersionOf(path), kind: kind.kind } as KubernetesObject;
    if (path.subresource === 'status') {
      const { status: _old, ...rest } = structuredClone(common);
      return { ...rest, ...(wished.status === undefined ? {} : { status: wished.status }) };
    }
    const metadata = { ...own, ...fixed } as KubernetesObject['metadata'];
    if (!kind.hasStatus) return { ...wished, apiVersion: apiVersionOf(path), kind: kind.kind, metadata };
    const { status: _wishedStatus, ...rest } = wished;
    return structuredClone({
      ...rest,
      apiVersion: apiVersionOf(path),
      kind: kind.kind,
      metadata,
      ...(before.status === undefined ? {} : { status: before.status }),
    }) as KubernetesObject;
  }

  #patch(write: Write): ApiAnswer {
    const { request, path, kind } = write;
    const type = request.contentType.split(';')[0]?.trim() ?? '';
    const accepted = kind.isBuiltIn ? [...patchTypes, 'application/strategic-merge-patch+json'] : patchTypes;
    if (!accepted.includes(type)) throw unsupportedMediaType(kind.isBuiltIn ? null : accepted);
    if (type.startsWith('application/apply-patch') || type.startsWith('application/strategic'))
      throw new ApiError(415, 'UnsupportedMediaType', `the fake API server of these tests does not know ${type}; use JSON patch or merge patch`, {});
    const patch: unknown = parseJson(request.body, 'error decoding patch');
    const change = (target: unknown): unknown => (type === 'application/json-patch+json' ? jsonPatch(target, patch) : mergePatch(target, patch));
    if (path.subresource === 'scale')
      return { status: 200, body: scaleOf(this.#scale(write, change(scaleOf(this.#existing(path, kind))) as KubernetesObject)) };
    return this.#shownUpdate(write, (before) => change(shown(before, path, kind)) as KubernetesObject);
  }

  #scale(write: Write, scale: KubernetesObject): KubernetesObject {
    const main = new Write(write.request, { ...write.path, subresource: null }, write.kind, write.isDryRun, 'scale');
    return this.#update(main, (before) => {
      const replicas = scale.spec?.['replicas'];
      const version = scale.metadata.resourceVersion;
      return {
        ...before,
        metadata: { ...before.metadata, ...(version === undefined ? {} : { resourceVersion: version }) },
        spec: { ...before.spec, replicas: typeof replicas === 'number' ? replicas : 0 },
      };
    });
  }

  #bind(write: Write): ApiAnswer {
    const body = parseBody(write.request.body);
    const node = isMap(body['target']) ? String(body['target']['name'] ?? '') : '';
    const main = new Write(write.request, { ...write.path, subresource: null }, write.kind, write.isDryRun, 'binding');
    this.#update(main, (before) => ({ ...before, spec: { ...before.spec, nodeName: node } }));
    return { status: 201, body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 } };
  }

  #delete(write: Write, object: KubernetesObject): unknown {
    const { path, kind, request } = write;
    const options = (request.body.trim() === '' ? {} : parseBody(request.body)) as Deletion;
    const { uid, resourceVersion } = options.preconditions ?? {};
    if (uid !== undefined && uid !== object.metadata.uid)
      throw conflict(path, object.metadata.name, `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${object.metadata.uid ?? ''}`);
    if (resourceVersion !== undefined && resourceVersion !== object.metadata.resourceVersion)
      throw conflict(
        path,
        object.metadata.name,
        `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${object.metadata.resourceVersion ?? ''}`,
      );
    this.#admit(write, 'DELETE', null, object);
    const done = {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Success',
      details: { name: object.metadata.name, ...(kind.group === '' ? {} : { group: kind.group }), kind: kind.resource, uid: object.metadata.uid },
    };
    if (write.isDryRun) return done;
    const grace = options.gracePeriodSeconds ?? (request.query.has('gracePeriodSeconds') ? Number(request.query.get('gracePeriodSeconds')) : 30);
    // A Pod on a node goes when its kubelet says so.
    const waits = kind.kind === 'Pod' && object.spec?.['nodeName'] !== undefined && grace > 0;
    if (waits || (object.metadata.finalizers ?? []).length > 0) {
      if (object.metadata.deletionTimestamp !== undefined) return shown(object, path, kind);
      const marked = { ...object, metadata: { ...object.metadata, deletionTimestamp: this.#timestamp(), deletionGracePeriodSeconds: waits ? grace : 0 } };
      return shown(this.store.put(storeOf(kind), marked), path, kind);
    }
    this.#remove(kind, object);
    return done;
  }

  #deleteAll(write: Write): ApiAnswer {
    const { request, path, kind } = write;
    const labels = request.query.get('labelSelector') ?? '';
    const fields = request.query.get('fieldSelector') ?? '';
    for (const object of this.store.list(storeOf(kind), path.namespace))
      if (matchesLabels(labels, object.metadata.labels ?? {}) && matchesFields(fields, object, kind.kind)) this.#delete(write, object);
    return { status: 200, body: { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success' } };
  }

  #remove(kind: ResourceKind, object: KubernetesObject): void {
    this.store.remove(storeOf(kind), object);
    if (kind.kind === 'CustomResourceDefinition') this.#kinds.delete(storeOf(customKind(object)));
    // The garbage collector: what only this object owned goes with it.
    for (const [store, owned] of this.store.all()) {
      const owners = owned.metadata.ownerReferences ?? [];
      if (owners.length === 0 || !owners.every((owner) => owner.uid === object.metadata.uid)) continue;
      const ownedKind = this.#kinds.get(store);
      if (ownedKind === undefined) continue;
      if (ownedKind.kind === 'Pod' && owned.spec?.['nodeName'] !== undefined) {
        if (owned.metadata.deletionTimestamp === undefined)
          this.store.put(store, { ...owned, metadata: { ...owned.metadata, deletionTimestamp: this.#timestamp(), deletionGracePeriodSeconds: 30 } });
      } else this.#remove(ownedKind, owned);
    }
  }

  // ---- rules of a write

  #checkTypes(object: KubernetesObject, { path, kind }: Write): void {
    const isScale = path.subresource === 'scale';
    if (!isScale && object.kind !== undefined && object.kind !== kind.kind)
      throw badRequest(
        `${kind.kind} in version ${JSON.stringify(path.version)} cannot be handled as a ${kind.kind}: kind ${JSON.stringify(object.kind)} was sent`,
      );
    if (object.apiVersion !== undefined && object.apiVersion !== apiVersionOf(path))
      throw badRequest(`the API version in the data (${object.apiVersion}) does not match the expected API version (${apiVersionOf(path)})`);
    const time = kind.kind === 'Lease' ? badMicroTime(object) : null;
    if (time !== null)
      throw badRequest(
        `Lease in version "v1" cannot be handled as a Lease: parsing time ${JSON.stringify(time)} as "2006-01-02T15:04:05.000000Z07:00": cannot parse ${JSON.stringify(time.slice(19))} as ".000000"`,
      );
  }

  #validate(object: KubernetesObject, before: KubernetesObject | null, { path, kind }: Write): void {
    const causes = kind.validate?.(object, before) ?? [];
    if (causes.length > 0) throw invalid(path, kind.kind, object.metadata.name, causes);
  }

  #admit(write: Write, operation: AdmissionReview['operation'], object: KubernetesObject | null, before: KubernetesObject | null): KubernetesObject {
    let present = object;
    for (const webhook of this.webhooks) {
      const answer = webhook.review({
        operation,
        group: write.path.group,
        resource: write.path.resource,
        subresource: write.path.subresource,
        namespace: write.path.namespace,
        name: (present ?? before)?.metadata.name ?? '',
        user: write.request.user,
        isDryRun: write.isDryRun,
        object: present,
        before,
      });
      if (answer === null) continue;
      if ('mutate' in answer) present = answer.mutate;
      else if ('deny' in answer) {
        const code = answer.code ?? 403;
        throw new ApiError(
          code,
          code === 403 ? 'Forbidden' : 'BadRequest',
          `admission webhook ${JSON.stringify(webhook.name)} denied the request: ${answer.deny}`,
        );
      } else {
        const message = `failed calling webhook ${JSON.stringify(webhook.name)}: failed to call webhook: ${answer.fail}`;
        throw new ApiError(500, 'InternalError', `Internal error occurred: ${message}`, { causes: [{ message }] });
      }
    }
    return present as KubernetesObject;
  }

  /** Sets what the server sets, and stores. */
  #keep(write: Write, before: KubernetesObject | null, object: KubernetesObject): KubernetesObject {
    const { kind, path, request } = write;
    const after = structuredClone(object);
    if (before !== null && kind.generation !== 'none' && path.subresource === null && movesGeneration(kind, before, after))
      after.metadata.generation = (before.metadata.generation ?? 0) + 1;
    const manager = request.query.get('fieldManager') ?? (request.userAgent.split('/')[0] || 'unknown');
    const subresource = write.writtenThrough ?? path.subresource;
    const managed = updateManagedFields(before, after, {
      manager,
      subresource: subresource === 'binding' ? null : subresource,
      isBuiltIn: kind.isBuiltIn,
      nowMs: this.#nowMs(),
    });
    if (managed.length > 0) after.metadata.managedFields = managed;
    if (write.isDryRun) return after;
    const kept = this.store.put(storeOf(kind), after);
    if (kind.kind === 'CustomResourceDefinition') {
      const custom = customKind(kept);
      this.#kinds.set(storeOf(custom), custom);
      if (before === null)
        return this.store.put(storeOf(kind), { ...kept, status: { conditions: establishedConditions(this.#timestamp()), storedVersions: custom.versions } });
    }
    const isFinished =
      kept.metadata.deletionTimestamp !== undefined && (kept.metadata.finalizers ?? []).length === 0 && (before?.metadata.finalizers ?? []).length > 0;
    if (isFinished) this.#remove(kind, kept);
    return kept;
  }

  #timestamp(): string {
    return `${new Date(this.#nowMs()).toISOString().slice(0, 19)}Z`;
  }

  #nextClusterIp(): string {
    this.#addresses += 1;
    return `10.96.${Math.floor(this.#addresses / 250)}.${(this.#addresses % 250) + 1}`;
  }
}

/** One request that writes. */
class Write {
  readonly request: ApiRequest;
  readonly path: ApiPath;
  readonly kind: ResourceKind;
  readonly isDryRun: boolean;
  /** The subresource a client used, where the object itself is written on its behalf. */
  readonly writtenThrough: string | null;
  constructor(request: ApiRequest, path: ApiPath, kind: ResourceKind, isDryRun: boolean, writtenThrough: string | null = null) {
    this.request = request;
    this.path = path;
    this.kind = kind;
    this.isDryRun = isDryRun;
    this.writtenThrough = writtenThrough;
  }
}

function storeOf(kind: Named): string {
  return `${kind.group}/${kind.resource}`;
}

function apiVersionOf({ group, version }: ApiPath): string {
  return group === '' ? version : `${group}/${version}`;
}

/** As the asked-for version shows it. */
function shown(object: KubernetesObject, path: ApiPath, kind: ResourceKind): KubernetesObject {
  const own = { ...object, apiVersion: apiVersionOf(path), kind: kind.kind };
  // What was sent in another order comes back in this one: custom objects are maps to the API server.
  return kind.isBuiltIn ? own : (withSortedKeys(own) as KubernetesObject);
}

function withSortedKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withSortedKeys);
  if (!isMap(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .toSorted()
      .map((key) => [key, withSortedKeys(value[key])]),
  );
}

function scaleOf(object: KubernetesObject): KubernetesObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const labels = (isMap(object.spec?.['selector']) ? (object.spec['selector']['matchLabels'] ?? {}) : {}) as Record<string, string>;
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp } as KubernetesObject['metadata'],
    spec: { replicas: object.spec?.['replicas'] ?? 0 },
    status: {
      replicas: object.status?.['replicas'] ?? 0,
      selector: Object.entries(labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
    },
  };
}

function movesGeneration(kind: ResourceKind, before: KubernetesObject, after: KubernetesObject): boolean {
  if (kind.generation === 'content') {
    const content = ({ metadata: _metadata, status, apiVersion: _apiVersion, ...rest }: KubernetesObject): unknown =>
      kind.hasStatus ? rest : { ...rest, status };
    return !isDeepStrictEqual(content(before), content(after));
  }
  if (!isDeepStrictEqual(before.spec, after.spec)) return true;
  return kind.generation === 'spec and annotations' && !isDeepStrictEqual(before.metadata.annotations ?? {}, after.metadata.annotations ?? {});
}

function withoutBookkeeping({ apiVersion: _apiVersion, ...object }: KubernetesObject): unknown {
  const { resourceVersion: _version, managedFields: _managed, ...metadata } = object.metadata;
  return { ...object, metadata };
}

function establishedConditions(at: string): JsonMap[] {
  return [
    { type: 'NamesAccepted', status: 'True', lastTransitionTime: at, reason: 'NoConflicts', message: 'no conflicts found' },
    { type: 'Established', status: 'True', lastTransitionTime: at, reason: 'InitialNamesAccepted', message: 'the initial names have been accepted' },
  ];
}

function isTrue(value: string | null): boolean {
  return value === '1' || value === 'true';
}

function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw badRequest(`${what}: ${(error as Error).message}`);
  }
}

function parseBody(text: string): JsonMap {
  const value = parseJson(text, 'the object provided is unrecognized');
  if (!isMap(value)) throw badRequest('the object provided is unrecognized (must be of type object)');
  return value;
}

function parseObject(text: string): KubernetesObject {
  const value = parseBody(text);
  if (!isMap(value['metadata'])) value['metadata'] = {};
  return value as unknown as KubernetesObject;
}

/**
 * One SELECT that reads everything the start needs to know about the user's tables from pg_catalog. It needs no
 * privilege on the tables themselves, so that missing ones can be named.
 */
import type pg from 'pg'
import type { TableModel } from '../staging/table.ts'

export interface ColumnFacts {
  readonly name: string
  /** As `format_type()` prints it. */
  readonly type: string
  readonly notNull: boolean
  readonly hasDefault: boolean
  /** pg_attribute.attidentity: `a` always, `d` by default, empty: none. */
  readonly identity: string
  readonly generated: boolean
  /** Set when the collation calls different texts equal. */
  readonly nondeterministic: string | null
  /** Of an enum, or of the elements of an array of enums. */
  readonly enum: { readonly schema: string; readonly name: string; readonly labels: readonly string[] } | null
}

export interface ConstraintFacts {
  readonly name: string
  /** pg_constraint.contype: p, u, f, x. */
  readonly type: 'p' | 'u' | 'f' | 'x'
  readonly deferrable: boolean
  readonly columns: readonly string[]
  readonly definition: string
  /** pg_constraint.confdeltype and confupdtype: a, r, c, n, d; a space where it is no foreign key. */
  readonly onDelete: string
  readonly onUpdate: string
  /** Foreign keys that refer to it. */
  readonly referencedBy: readonly string[] | null
}

/** A unique index that belongs to no constraint. */
export interface UniqueIndexFacts {
  readonly name: string
  /** Those that are plain columns, without what the index merely includes. */
  readonly columns: readonly string[]
  /** Partial, or of an expression: no constraint can say that. */
  readonly special: boolean
  readonly definition: string
}

export interface TableFacts {
  readonly exists: boolean
  /** pg_class.relkind and relpersistence. */
  readonly kind: string
  readonly persistence: string
  readonly rowSecurity: boolean
  readonly role: string
  readonly schemaUsable: boolean
  readonly missingPrivileges: readonly string[] | null
  readonly columns: readonly ColumnFacts[] | null
  readonly constraints: readonly ConstraintFacts[] | null
  readonly uniqueIndexes: readonly UniqueIndexFacts[] | null
  readonly triggers: readonly string[] | null
  readonly rules: readonly string[] | null
  readonly children: readonly string[] | null
  readonly parents: readonly string[] | null
}

export interface CatalogFacts {
  readonly encoding: string
  /** In the order of the models. */
  readonly tables: readonly TableFacts[]
}

/** Names at positions of an attribute number array, in its order. */
const namesAt = (numbers: string, table: string) => `
  ARRAY(SELECT a.attname::text FROM unnest(${numbers}) WITH ORDINALITY AS k (num, ord)
        JOIN pg_attribute a ON a.attrelid = ${table} AND a.attnum = k.num ORDER BY k.ord)`

const select = `
SELECT current_setting('server_encoding') AS encoding, json_build_object(
  'exists', c.oid IS NOT NULL,
  'kind', c.relkind,
  'persistence', c.relpersistence,
  'rowSecurity', coalesce(row_security_active(c.oid), false),
  'role', current_user,
  'schemaUsable', coalesce(has_schema_privilege(n.oid, 'USAGE'), false),
  'missingPrivileges', (
    SELECT json_agg(p ORDER BY ord) FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS _ (p, ord)
    WHERE NOT has_table_privilege(c.oid, p)),
  'columns', (
    SELECT json_agg(json_build_object(
      'name', a.attname,
      'type', format_type(a.atttypid, a.atttypmod),
      'notNull', a.attnotnull,
      'hasDefault', a.atthasdef,
      'identity', a.attidentity,
      'generated', a.attgenerated <> '',
      'nondeterministic', (
        SELECT quote_ident(cn.nspname) || '.' || quote_ident(co.collname)
        FROM pg_collation co JOIN pg_namespace cn ON cn.oid = co.collnamespace
        WHERE co.oid = a.attcollation AND NOT co.collisdeterministic),
      'enum', (
        SELECT json_build_object('schema', tn.nspname, 'name', t.typname, 'labels', (
          SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid))
        FROM pg_type own
        JOIN pg_type t ON t.oid = CASE WHEN own.typcategory = 'A' THEN own.typelem ELSE own.oid END
        JOIN pg_namespace tn ON tn.oid = t.typnamespace
        WHERE own.oid = a.atttypid AND t.typtype = 'e')
    ) ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  'constraints', (
    SELECT json_agg(json_build_object(
      'name', co.conname,
      'type', co.contype,
      'deferrable', co.condeferrable,
      'columns', ${namesAt('co.conkey', 'c.oid')},
      'definition', pg_get_constraintdef(co.oid),
      'onDelete', co.confdeltype,
      'onUpdate', co.confupdtype,
      'referencedBy', (
        SELECT json_agg(quote_ident(f.conname) || ' of ' || f.conrelid::regclass::text ORDER BY f.conname)
        FROM pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid AND f.conindid = co.conindid)
    ) ORDER BY co.contype, co.conname)
    FROM pg_constraint co WHERE co.conrelid = c.oid AND co.contype IN ('p', 'u', 'f', 'x')),
  'uniqueIndexes', (
    SELECT json_agg(json_build_object(
      'name', ic.relname,
      'columns', ${namesAt('(i.indkey::int2[])[0:i.indnkeyatts - 1]', 'c.oid')},
      'special', i.indexprs IS NOT NULL OR i.indpred IS NOT NULL,
      'definition', pg_get_indexdef(i.indexrelid)
    ) ORDER BY ic.relname)
    FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid
    WHERE i.indrelid = c.oid AND i.indisunique
      AND NOT EXISTS (SELECT FROM pg_constraint co WHERE co.conindid = i.indexrelid AND co.contype IN ('p', 'u', 'x'))),
  'triggers', (
    SELECT json_agg(t.tgname ORDER BY t.tgname) FROM pg_trigger t
    WHERE t.tgrelid = c.oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgname NOT LIKE 'tailrace\\_%'),
  'rules', (
    SELECT json_agg(r.rulename ORDER BY r.rulename) FROM pg_rewrite r
    WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN' AND r.ev_enabled <> 'D'),
  'children', (
    SELECT json_agg(i.inhrelid::regclass::text ORDER BY 1) FROM pg_inherits i WHERE i.inhparent = c.oid),
  'parents', (
    SELECT json_agg(i.inhparent::regclass::text ORDER BY 1) FROM pg_inherits i WHERE i.inhrelid = c.oid)
) AS facts
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (schema_name, table_name, ord)
LEFT JOIN pg_namespace n ON n.nspname = wanted.schema_name
LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = wanted.table_name
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY wanted.ord`

/** One round trip, whatever the number of tables. */
export async function readCatalog(
  client: Pick<pg.ClientBase, 'query'>,
  models: readonly TableModel[],
): Promise<CatalogFacts> {
  const { rows } = await client.query<{ encoding: string; facts: TableFacts }>(select, [
    models.map(({ schema }) => schema),
    models.map(({ sqlName }) => sqlName),
  ])
  return { encoding: rows[0]?.encoding ?? 'UTF8', tables: rows.map(({ facts }) => facts) }
}
